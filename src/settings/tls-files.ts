// The certificate and the key with which a server speaks HTTPS itself.
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { text, type SettingTable } from './setting.ts';

/** Rows of the server's table. */
export const TLS_ROWS = {
  tlsCertFile: {
    group: 'server',
    flag: 'tls-cert',
    metavar: 'file',
    type: text,
    default: undefined,
    defaultText: 'none: plain HTTP',
    help: 'certificate for HTTPS, PEM, with those between it and its authority; read once, at the start',
  },
  tlsKeyFile: {
    group: 'server',
    flag: 'tls-key',
    metavar: 'file',
    type: text,
    default: undefined,
    defaultText: 'none',
    help: 'private key of the certificate, PEM, without a password',
  },
} as const satisfies SettingTable;

/** PEM */
export interface TlsFiles {
  /** the server's own certificate, and those between it and an authority */
  readonly cert: string;
  readonly key: string;
}

/**
 * Reads them once, before the server accepts requests: a new certificate needs a restart.
 * @returns undefined where no file is named or something is wrong, which is then in `mistakes`
 */
export function readTlsFiles(
  certFile: string | undefined,
  keyFile: string | undefined,
  mistakes: string[],
): TlsFiles | undefined {
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (certFile === undefined || keyFile === undefined) {
    mistakes.push('--tls-cert and --tls-key belong together: give both, or none for plain HTTP.');
    return undefined;
  }
  const read = (flag: string, path: string): string | undefined => {
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      mistakes.push(`${flag} ${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}).`);
      return undefined;
    }
  };
  const [cert, key] = [read('--tls-cert', certFile), read('--tls-key', keyFile)];
  if (cert === undefined || key === undefined) return undefined;
  try {
    createSecureContext({ cert, key });
    return { cert, key };
  } catch (error) {
    // OpenSSL's words, such as "key values mismatch"; they hold nothing of the key.
    const reason = (error as Error).message.split(':').at(-1) ?? '';
    mistakes.push(`--tls-cert ${certFile} and --tls-key ${keyFile} are no certificate with its key in PEM: ${reason}.`);
    return undefined;
  }
}
