// fetch() for servers that may think for long. Node's own gives up when headers, or the next bytes, do not come within
// five minutes, whatever the caller allows.
import { Agent, fetch } from 'undici';

const agent = new Agent({ headersTimeout: 0, bodyTimeout: 0 });

interface PatientRequest {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | FormData;
  /** the only limit of its time */
  readonly signal: AbortSignal;
}

export interface PatientResponse {
  readonly status: number;
  readonly ok: boolean;
  readonly headers: { get(name: string): string | null };
  text(): Promise<string>;
}

/** One POST. @throws as fetch does */
export async function patientPost(url: string, { headers, body, signal }: PatientRequest): Promise<PatientResponse> {
  if (typeof body === 'string') return await fetch(url, { method: 'POST', headers, body, signal, dispatcher: agent });
  // Node's forms are not those of the package.
  const form = new Response(body);
  const type = form.headers.get('content-type') ?? '';
  const bytes = await form.arrayBuffer();
  const asked = { method: 'POST', headers: { ...headers, 'content-type': type }, body: bytes, signal };
  return await fetch(url, { ...asked, dispatcher: agent });
}
