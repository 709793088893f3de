import { readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { OciBlob, OciContent } from './oci-image.ts';
import type { TestRegistry } from './registry.ts';

/** Where and as whom to push. */
export type PushTarget = Pick<TestRegistry, 'port' | 'ca'> & {
  /** Plain HTTP where false. */
  readonly tls?: boolean;
  /** For a registry with Basic authentication. */
  readonly credentials?: { readonly user: string; readonly password: string };
};

/** What one request sends. */
interface Sending {
  readonly method: 'POST' | 'PUT';
  readonly path: string;
  readonly type?: string;
  readonly bytes?: Uint8Array;
}

/**
 * Pushes an image or index with all it needs to `repository`, under `tag` (distribution-spec, "Pushing
 * manifests"); whatever the registry accepts, so that tests can lie.
 */
export async function pushImage(
  target: PushTarget,
  repository: string,
  tag: string,
  { blobs, manifests, root }: OciContent,
): Promise<void> {
  for (const blob of blobs) await pushBlob(target, repository, blob);
  for (const manifest of manifests) await pushManifest(target, repository, manifest);
  await pushManifest(target, repository, root, tag);
}

/** Uploads a blob in one piece (distribution-spec, "POST then PUT"). */
export async function pushBlob(
  target: PushTarget,
  repository: string,
  { digest, bytes }: OciBlob,
): Promise<void> {
  const path = `/v2/${repository}/blobs/uploads/`;
  const { headers } = await send(target, { method: 'POST', path }, 202);
  const place = new URL(headers.location ?? '', `https://localhost:${target.port}`);
  place.searchParams.set('digest', digest);
  const type = 'application/octet-stream';
  await send(target, { method: 'PUT', path: place.pathname + place.search, type, bytes }, 201);
}

/** Puts a manifest or index under a tag, or under its digest. */
export async function pushManifest(
  target: PushTarget,
  repository: string,
  { digest, mediaType, bytes }: OciBlob,
  tag: string = digest,
): Promise<void> {
  const path = `/v2/${repository}/manifests/${tag}`;
  await send(target, { method: 'PUT', path, type: mediaType, bytes }, 201);
}

async function send(target: PushTarget, sending: Sending, expected: number) {
  const { method, path, type, bytes = new Uint8Array() } = sending;
  const { port, credentials } = target;
  const options = {
    host: 'localhost',
    port,
    method,
    path,
    headers: { 'content-length': bytes.length, ...(type ? { 'content-type': type } : {}) },
    ...(credentials ? { auth: `${credentials.user}:${credentials.password}` } : {}),
  };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request =
      target.tls === false
        ? httpRequest(options, resolve)
        : httpsRequest({ ...options, ca: readFileSync(target.ca) }, resolve);
    request.once('error', reject).end(bytes);
  });
  const said = await textOf(response);
  if (response.statusCode === expected) return response;
  throw new Error(`${method} ${path}: ${response.statusCode} ${said}`);
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of response.setEncoding('utf8')) text += piece;
  return text;
}
