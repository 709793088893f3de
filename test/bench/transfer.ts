import { createReadStream, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream';
import { createAuthority } from '../../examples/quickstart/certificates.ts';
import {
  type Handler,
  serveDirectory,
  startHttpsServer,
} from '../../examples/quickstart/https-server.ts';
import type { Installation, SignedImage } from '../support/installation.ts';
import type { Contender } from './contender.ts';
import { MANIFEST_TYPE, type OciLayout } from './oci-layout.ts';

/** The local HTTPS server both sides fetch from. */
export interface Mirror {
  readonly port: number;
  /** The authority's certificate: a file named ca.crt in a folder of its own, as skopeo wants it. */
  readonly certificate: string;
  close(): Promise<void>;
}

/** Serves the folder of `image` as plain files and `layout` as a registry's repository `large`. */
export async function startMirror(
  directory: string,
  image: SignedImage,
  layout: OciLayout,
): Promise<Mirror> {
  const authority = createAuthority();
  const certificate = join(directory, 'certificates/ca.crt');
  mkdirSync(dirname(certificate), { recursive: true });
  writeFileSync(certificate, authority.certificate);
  const files = serveDirectory(dirname(image.path));
  const registry = serveRegistry(layout);
  const server = await startHttpsServer(authority.issue(['127.0.0.1']), (request, response) =>
    request.url?.startsWith('/v2/') ? registry(request, response) : files(request, response),
  );
  return { port: server.port, certificate, close: server.close };
}

/** As much of the OCI distribution specification as a pull asks for. */
function serveRegistry(layout: OciLayout): Handler {
  return (request, response) => {
    const [, kind, name] = /^\/v2\/large\/(manifests|blobs)\/(.+)$/.exec(request.url ?? '') ?? [];
    if (kind === 'manifests') {
      response.setHeader('content-type', MANIFEST_TYPE).end(layout.manifest);
    } else if (kind === 'blobs' && name !== undefined) {
      const path = layout.blob(name);
      response.setHeader('content-length', statSync(path).size);
      pipeline(createReadStream(path, { highWaterMark: 1 << 18 }), response, () => {});
    } else {
      response.setHeader('content-type', 'application/json').end('{}');
    }
  };
}

/** Fetch, signature check, unpack, commit: into an empty store each time. */
export function gantryFetch(gantry: Installation, image: SignedImage, mirror: Mirror): Contender {
  const location = `https://127.0.0.1:${mirror.port}/${basename(image.path)}`;
  return {
    name: 'gantry fetch',
    note: 'HTTPS, OpenPGP signature, sha512 of both archive and content, unpacked and synced',
    programs: [],
    round: async () => {
      const { words } = gantry.command('fetch', location);
      return [{ words, environment: { SSL_CERT_FILE: mirror.certificate, NO_PROXY: '127.0.0.1' } }];
    },
    afterRound: async () => {
      await gantry.call('image rm', 'example.com/large:1.0.0');
    },
  };
}

/** What gives the same tree with OCI's tools; neither of the two checks a signature here. */
export function skopeoUmoci(directory: string, mirror: Mirror): Contender {
  const copy = join(directory, 'copy');
  const bundle = join(directory, 'umoci');
  const environment = { NO_PROXY: '127.0.0.1' };
  const source = `docker://127.0.0.1:${mirror.port}/large:1`;
  const certificates = `--src-cert-dir=${dirname(mirror.certificate)}`;
  return {
    name: 'skopeo copy + umoci unpack',
    note: 'the same tree, gzip, from the same server; sha256 only, no signature, no sync',
    programs: ['skopeo', 'umoci'],
    round: async () => [
      {
        words: ['skopeo', 'copy', '--insecure-policy', certificates, source, `oci:${copy}:1`],
        environment,
      },
      { words: ['umoci', 'unpack', '--image', `${copy}:1`, bundle] },
    ],
    afterRound: async () => {
      for (const made of [copy, bundle]) rmSync(made, { recursive: true, force: true });
    },
  };
}

/** `gunzip` of the same archive alone: the floor that one core's decompression sets. */
export function gunzipAlone(image: SignedImage): Contender {
  return {
    name: 'gzip -dc alone',
    note: 'decompression only, to /dev/null',
    programs: ['gzip'],
    round: async () => [{ words: ['sh', '-c', 'exec gzip -dc "$1" >/dev/null', 'sh', image.path] }],
  };
}
