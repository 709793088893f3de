import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { parseIdentity } from '../../src/trust/keyless-identity.ts';
import type { CheckContext } from '../../src/trust/signature-check.ts';
import {
  type IdentitySignature,
  verifyIdentitySignature,
} from '../../src/trust/sigstore-identity.ts';
import { runCommand } from '../support/installation.ts';
import { imageOf, layerOf, type OciImage } from '../support/oci-image.ts';
import { pushImage } from '../support/oci-push.ts';
import { registryProgram, startRegistry, type TestRegistry } from '../support/registry.ts';
import { findProgram, needs, program } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import {
  checkContext,
  provenanceOf,
  refusalOf,
  trustedFor,
} from '../unit/trust/signed-manifest.ts';
import { SigstoreWorld } from '../unit/trust/sigstore-world.ts';
import { candidateOf, referrersOf, signatures } from './registry-signatures.ts';
import { identityToken, type SigstoreServices, serveSigstore } from './sigstore-services.ts';

const issuer = 'https://accounts.test.example';
const email = 'ann@test.example';

let registry: TestRegistry;
let world: SigstoreWorld;
let services: SigstoreServices;
beforeAll(async () => {
  if (findProgram(registryProgram) !== undefined) registry = await startRegistry();
  world = await SigstoreWorld.create();
  services = await serveSigstore(world);
});
afterAll(async () => {
  services?.close();
  await registry?.close();
});
beforeEach((context) => needs(context, program('cosign'), program(registryProgram)));

/** Has cosign sign a new image as somebody, by the deployment under test. */
async function sign(format: 'bundle' | 'classic'): Promise<OciImage> {
  const home = temporaryDirectory();
  const image = imageOf([layerOf([{ name: 'file', content: `${Math.random()}` }])]);
  await pushImage(registry, 'team/app', '1', image);
  const directories = { system: join(home, 'system'), local: home };
  // The signing configuration came with bundles; before, each service had a flag.
  const deployment =
    format === 'bundle'
      ? [
          `--trusted-root=${world.install(directories)}`,
          `--signing-config=${signingConfiguration(home)}`,
        ]
      : [
          '--use-signing-config=false',
          `--fulcio-url=${services.url}`,
          `--rekor-url=${services.url}`,
        ];
  const flags = [
    `--new-bundle-format=${format === 'bundle'}`,
    `--identity-token=${token()}`,
    `--registry-cacert=${registry.ca}`,
    ...deployment,
    '--yes',
  ];
  const reference = `${registry.host}/team/app@${image.root.digest}`;
  const environment = {
    HOME: home,
    DOCKER_CONFIG: home,
    TUF_ROOT: join(home, 'tuf'),
    NO_PROXY: 'localhost,127.0.0.1',
  };
  const words = [findProgram('cosign') ?? 'cosign', 'sign', ...flags, reference] as const;
  const { code, stderr } = await runCommand({ words: [...words], environment });
  if (code !== 0) throw new Error(`cosign sign: exit ${code}: ${stderr}`);
  return image;
}

function token(): string {
  const now = Math.floor(Date.now() / 1000);
  const who = { iss: issuer, sub: email, email, email_verified: true };
  return identityToken({ ...who, aud: 'sigstore', iat: now, exp: now + 600 });
}

/** sigstore/protobuf-specs, sigstore_trustroot.proto, `SigningConfig`. */
function signingConfiguration(directory: string): string {
  const service = {
    url: services.url,
    majorApiVersion: 1,
    validFor: { start: '2020-01-01T00:00:00Z' },
    operator: 'test',
  };
  const path = join(directory, 'signing_config.json');
  writeFileSync(
    path,
    JSON.stringify({
      mediaType: 'application/vnd.dev.sigstore.signingconfig.v0.2+json',
      caUrls: [service],
      oidcUrls: [service],
      rekorTlogUrls: [service],
      rekorTlogConfig: { selector: 'ANY' },
      tsaConfig: { selector: 'ANY' },
    }),
  );
  return path;
}

async function bundleOf(image: OciImage): Promise<IdentitySignature> {
  const [found] = await referrersOf(registry, 'team/app', image.root.digest);
  if (found === undefined) throw new Error('cosign left no bundle');
  return { kind: 'bundle', bytes: found.bytes, ...place(image) };
}

async function annotationsOf(image: OciImage): Promise<IdentitySignature> {
  const tag = `${image.root.digest.replace(':', '-')}.sig`;
  const [found] = await signatures(registry, 'team/app', tag);
  if (found === undefined) throw new Error('cosign left no signature');
  const { annotations, bytes } = found;
  return {
    kind: 'cosign',
    payload: bytes,
    signature: annotations['dev.cosignproject.cosign/signature'] ?? '',
    certificate: annotations['dev.sigstore.cosign/certificate'] ?? '',
    bundle: annotations['dev.sigstore.cosign/bundle'] ?? '',
    ...place(image),
  };
}

function place({ root }: OciImage): Pick<IdentitySignature, 'subject' | 'origin'> {
  return { subject: candidateOf(root).digest, origin: 'the registry' };
}

function trusting(image: OciImage, subject: string): CheckContext {
  const local = temporaryDirectory();
  const directories = { system: join(local, 'system'), local };
  world.install(directories);
  return checkContext({
    directories,
    name: `${registry.host}/team/app`,
    candidates: [candidateOf(image.root)],
    keys: [trustedFor({ kind: 'sigstore-identity', identity: parseIdentity(subject, issuer) })],
  });
}

const formats = [
  ['bundle', bundleOf],
  ['classic', annotationsOf],
] as const;

test.each(formats)('what cosign signed for an identity is accepted (%s)', async (format, find) => {
  const image = await sign(format);
  const outcome = verifyIdentitySignature(await find(image), trusting(image, email));
  expect(await provenanceOf(outcome)).toMatchObject({
    kind: 'sigstore-identity',
    identity: email,
    issuer,
    logIndex: expect.stringMatching(/^\d+$/),
  });
});

test.each(formats)('what cosign signed for somebody else is refused (%s)', async (format, find) => {
  const image = await sign(format);
  const outcome = verifyIdentitySignature(await find(image), trusting(image, `b${email}`));
  expect(await refusalOf(outcome)).toContain(
    `its certificate is for "${email}" (issuer ${issuer})`,
  );
});

test.each(formats)('what cosign signed is refused for another image (%s)', async (format, find) => {
  const image = await sign(format);
  const other = imageOf([layerOf([{ name: 'other' }])]);
  const outcome = verifyIdentitySignature(await find(image), trusting(other, email));
  expect(await refusalOf(outcome)).toContain('another image');
});
