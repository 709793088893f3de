import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { parseDigest } from '../../src/image/digest.ts';
import { MEDIA_TYPES, parseOciManifest } from '../../src/image/oci-manifest.ts';
import type { SignatureCandidate } from '../../src/trust/manifest-signature.ts';
import type { OciBlob } from '../support/oci-image.ts';
import type { TestRegistry } from '../support/registry.ts';

/** A signature's manifest beside an image, and the blob that is the signature. */
export interface FoundSignature {
  readonly mediaType: string;
  readonly bytes: Buffer;
  readonly annotations: Readonly<Record<string, string>>;
}

/** The manifest as the trust room is told of it. */
export function candidateOf({ digest, mediaType, bytes }: OciBlob): SignatureCandidate {
  return { what: 'manifest', digest: parseDigest(digest), bytes, mediaType };
}

/** What the tools put beside an image, by the referrers' fallback tag (distribution-spec, "Referrers Tag Schema"). */
export async function referrersOf(
  registry: TestRegistry,
  repository: string,
  digest: string,
): Promise<FoundSignature[]> {
  const index = await manifest(registry, repository, digest.replace(':', '-'));
  if (index.kind !== 'index') throw new Error('the fallback tag is no index');
  const found = await Promise.all(
    index.manifests.map(async ({ digest: { algorithm, hex } }) => {
      return await signatures(registry, repository, `${algorithm}:${hex}`);
    }),
  );
  return found.flat();
}

/** The signatures in one manifest, by its tag or digest. */
export async function signatures(
  registry: TestRegistry,
  repository: string,
  reference: string,
): Promise<FoundSignature[]> {
  const found = await manifest(registry, repository, reference);
  if (found.kind !== 'manifest') throw new Error(`${reference} is no manifest`);
  return await Promise.all(
    found.layers.map(async ({ mediaType, digest: { algorithm, hex }, annotations = {} }) => ({
      mediaType,
      bytes: await get(registry, `/v2/${repository}/blobs/${algorithm}:${hex}`),
      annotations,
    })),
  );
}

async function manifest(registry: TestRegistry, repository: string, reference: string) {
  return parseOciManifest(
    await get(registry, `/v2/${repository}/manifests/${reference}`),
    undefined,
  );
}

async function get({ port, ca }: TestRegistry, path: string): Promise<Buffer> {
  const accept = `${MEDIA_TYPES.manifest}, ${MEDIA_TYPES.index}, */*`;
  return await new Promise((resolve, reject) => {
    const options = {
      host: 'localhost',
      port,
      path,
      ca: readFileSync(ca),
      headers: { accept },
      agent: false,
    };
    request(options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        if (response.statusCode === 200) resolve(Buffer.concat(chunks));
        else reject(new Error(`GET ${path}: ${response.statusCode}`));
      });
    })
      .on('error', reject)
      .end();
  });
}
