import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fulcioHandler, rekorHandler } from '@sigstore/mock';
import type { SigstoreWorld } from '../unit/trust/sigstore-world.ts';

/** A sigstore deployment that cosign can sign with. */
export interface SigstoreServices {
  /** Where both Fulcio and Rekor are. */
  readonly url: string;
  close(): void;
}

/** Serves a deployment's authority and log by their HTTP interfaces, as far as signing needs them. */
export async function serveSigstore(world: SigstoreWorld): Promise<SigstoreServices> {
  const fulcio = fulcioHandler(world.ca);
  const rekor = rekorHandler(world.tlog);
  const server = createServer((incoming, response) => {
    const answer = async () => {
      const body = await bodyOf(incoming);
      // cosign wants 200 of Fulcio, and 201 of Rekor.
      if (incoming.url === fulcio.path) {
        return { ...(await fulcio.fn(withCredentials(incoming, body))), statusCode: 200 };
      }
      if (incoming.url === rekor.path) return await rekor.fn(canonicalEntry(body));
      return { statusCode: 404, response: `nothing at ${incoming.url}` };
    };
    answer().then(
      ({ statusCode, response: content }) => {
        response.writeHead(statusCode, headersOf(String(content))).end(content);
      },
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  const { port } = await listening(server);
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
}

/** An OpenID token that says who somebody is; the mocked authority takes its word unsigned. */
export function identityToken(claims: Readonly<Record<string, unknown>>): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${encode({ alg: 'RS256', typ: 'JWT' })}.${encode(claims)}.${encode({})}`;
}

/** Rekor says in the ETag which of the answer's entries is the new one. */
function headersOf(content: string): Record<string, string> {
  const [uuid = ''] = content.startsWith('{') ? Object.keys(JSON.parse(content)) : [];
  return { 'content-type': 'application/json', etag: uuid };
}

/** cosign sends the token in a header, where the mock looks for it in the body; Fulcio takes both. */
function withCredentials({ headers }: IncomingMessage, body: string): string {
  const oidcIdentityToken = headers.authorization?.replace(/^Bearer /, '');
  return JSON.stringify({ credentials: { oidcIdentityToken }, ...JSON.parse(body) });
}

/**
 * What Rekor keeps of what is proposed (sigstore/rekor, pkg/types/dsse/v0.0.1): of an envelope its
 * digests and signatures. The mock would keep the proposal.
 */
function canonicalEntry(body: string): string {
  const proposal = JSON.parse(body);
  if (proposal.kind !== 'dsse') return body;
  const { envelope, verifiers } = proposal.spec.proposedContent;
  const { payload, signatures } = JSON.parse(envelope);
  const digest = (data: string | Buffer) => ({
    algorithm: 'sha256',
    value: createHash('sha256').update(data).digest('hex'),
  });
  const spec = {
    envelopeHash: digest(envelope),
    payloadHash: digest(Buffer.from(payload, 'base64')),
    signatures: [{ signature: signatures[0].sig, verifier: verifiers[0] }],
  };
  return JSON.stringify({ apiVersion: proposal.apiVersion, kind: 'dsse', spec });
}

async function bodyOf(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function listening(server: Server): Promise<AddressInfo> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server.address() as AddressInfo;
}
