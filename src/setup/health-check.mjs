// The health check of the image. It asks the server where that says it listens: its port and its certificate may come
// from flags, from variables or from a config file.
import { readFileSync } from 'node:fs';
import process from 'node:process';

try {
  const address = readFileSync(process.env.AVOCADO_ADDRESS_FILE, 'utf8');
  // The certificate is for a name that clients know, and this machine asks itself.
  if (address.startsWith('https:')) process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  const { ok } = await fetch(`${address}/healthz`);
  process.exit(ok ? 0 : 1);
} catch (error) {
  process.stderr.write(`${error.cause?.message ?? error.message}\n`);
  process.exit(1);
}
