import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { ManifestSignature } from '../../src/trust/manifest-signature.ts';
import { verifyNotation } from '../../src/trust/notary.ts';
import type { CheckContext } from '../../src/trust/signature-check.ts';
import { Notation, notationProgram } from '../support/notation.ts';
import { imageOf, layerOf } from '../support/oci-image.ts';
import { pushImage } from '../support/oci-push.ts';
import { registryProgram, startRegistry, type TestRegistry } from '../support/registry.ts';
import { findProgram, needs, program } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import {
  AUTHORITY,
  type Certified,
  certify,
  ecKey,
  rsaKey,
  SIGNER,
} from '../unit/trust/notary-world.ts';
import {
  checkContext,
  provenanceOf,
  refusalOf,
  trustedFor,
} from '../unit/trust/signed-manifest.ts';
import { candidateOf, referrersOf } from './registry-signatures.ts';

let registry: TestRegistry;
beforeAll(async () => {
  if (findProgram(registryProgram) !== undefined) registry = await startRegistry();
});
afterAll(async () => {
  await registry?.close();
});
beforeEach((context) =>
  needs(context, program(notationProgram), program(registryProgram), program('openssl')),
);

const format = ['jws', 'cose'] as const;
type Signed = Extract<ManifestSignature, { kind: 'notation' }>;

/** A new image, pushed and signed; answers the signature as found, and what it must be over. */
async function signed(
  notation: Notation,
  signing: Parameters<Notation['sign']>[1] = {},
): Promise<{ signature: Signed; candidates: CheckContext['candidates'] }> {
  const content = `${Math.random()}`;
  const image = imageOf([layerOf([{ name: 'file', content }])]);
  await pushImage(registry, 'team/app', '1', image);
  const reference = `127.0.0.1:${registry.port}/team/app@${image.root.digest}`;
  await notation.sign({ reference, registry }, signing);
  const [found] = await referrersOf(registry, 'team/app', image.root.digest);
  if (found?.mediaType !== 'application/jose+json' && found?.mediaType !== 'application/cose') {
    throw new Error('notation left no signature');
  }
  const candidate = candidateOf(image.root);
  const { mediaType, bytes } = found;
  return {
    signature: {
      kind: 'notation',
      mediaType,
      bytes,
      subject: candidate.digest,
      origin: 'the registry',
    },
    candidates: [candidate],
  };
}

function trusting(certificate: X509Certificate, given: Partial<CheckContext>): CheckContext {
  return checkContext({ keys: [trustedFor({ kind: 'x509', certificate })], ...given });
}

/** Notation that signs with a certificate two authorities stand above. */
async function withChain(key = ecKey()): Promise<{ notation: Notation; root: Certified }> {
  const directory = temporaryDirectory();
  const root = certify({ name: 'root', extensions: AUTHORITY });
  const middle = certify({ name: 'middle', issuer: root, extensions: AUTHORITY });
  const signer = certify({ name: 'signer', issuer: middle, extensions: SIGNER, key });
  const file = (name: string, content: string | Buffer): string => {
    writeFileSync(join(directory, name), content, { mode: 0o600 });
    return join(directory, name);
  };
  const chain = [signer, middle, root].map(({ certificate }) => certificate.toString()).join('');
  const keyPair = {
    key: file('signer.key', key.export({ type: 'pkcs8', format: 'pem' })),
    certificates: file('signer.crt', chain),
  };
  const authority = file('root.crt', root.certificate.toString());
  return { notation: await Notation.withKey(join(directory, 'home'), keyPair, authority), root };
}

test.each(format)('a signature notation made in %s is accepted', async (envelope) => {
  const { notation, root } = await withChain();
  const { signature, candidates } = await signed(notation, { envelope, metadata: { build: '1' } });
  const outcome = verifyNotation(signature, trusting(root.certificate, { candidates }));
  expect(await provenanceOf(outcome)).toMatchObject({
    kind: 'x509',
    subject: 'CN=signer, O=Test, C=DE',
    authority: 'CN=root, O=Test, C=DE',
  });
});

test.each(format)('a signature notation made in %s with RSA is accepted', async (envelope) => {
  const { notation, root } = await withChain(rsaKey(3072));
  const { signature, candidates } = await signed(notation, { envelope });
  await provenanceOf(verifyNotation(signature, trusting(root.certificate, { candidates })));
});

test.each(format)("notation's self-signed test certificate is accepted in %s", async (envelope) => {
  const notation = await Notation.generate(temporaryDirectory());
  const { signature, candidates } = await signed(notation, { envelope });
  const certificate = new X509Certificate(readFileSync(notation.authority));
  await provenanceOf(verifyNotation(signature, trusting(certificate, { candidates })));
});

test.each(format)('an expiry notation wrote in %s is heeded', async (envelope) => {
  const { notation, root } = await withChain();
  const { signature, candidates } = await signed(notation, { envelope, expiry: '24h' });
  await provenanceOf(verifyNotation(signature, trusting(root.certificate, { candidates })));
  const now = new Date(Date.now() + 25 * 3_600_000);
  const late = verifyNotation(signature, trusting(root.certificate, { candidates, now }));
  expect(await refusalOf(late)).toContain('it expired at');
});

test.each(format)(
  'a signature notation made in %s is refused once its certificate expired',
  async (envelope) => {
    const { notation, root } = await withChain();
    const { signature, candidates } = await signed(notation, { envelope });
    const now = new Date(Date.now() + 31 * 24 * 3_600_000);
    const late = verifyNotation(signature, trusting(root.certificate, { candidates, now }));
    expect(await refusalOf(late)).toContain('expired at');
  },
);

test.each(format)(
  'a signature notation made in %s is refused under another authority',
  async (envelope) => {
    const { notation } = await withChain();
    const { signature, candidates } = await signed(notation, { envelope });
    const other = certify({ name: 'root', extensions: AUTHORITY });
    const outcome = verifyNotation(signature, trusting(other.certificate, { candidates }));
    expect(await refusalOf(outcome)).toContain(
      'trusted for registry.example.com/team/app is only CN=root',
    );
  },
);

test.each(format)(
  'a signature notation made in %s is refused for another image',
  async (envelope) => {
    const { notation, root } = await withChain();
    const [mine, other] = [
      await signed(notation, { envelope }),
      await signed(notation, { envelope }),
    ];
    const outcome = verifyNotation(
      mine.signature,
      trusting(root.certificate, { candidates: other.candidates }),
    );
    expect(await refusalOf(outcome)).toContain('another image');
  },
);

test.each(format)('no byte of an envelope in %s can be changed unnoticed', async (envelope) => {
  const { notation, root } = await withChain();
  const { signature, candidates } = await signed(notation, { envelope });
  const context = trusting(root.certificate, { candidates });
  const { length } = signature.bytes;
  // The unsigned agent's name may change; everything else is signed, or is what verifies it.
  const agent = Buffer.from(signature.bytes).indexOf('io.cncf.notary.signingAgent');
  const isAgent = (at: number) => at >= agent && at < agent + 50;
  for (let at = 3; at < length; at += 7) {
    const bytes = Uint8Array.from(signature.bytes);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    if (isAgent(at)) continue;
    const outcome = await verifyNotation({ ...signature, bytes }, context).catch(() => undefined);
    expect(outcome === undefined || 'faults' in outcome, `byte ${at} of ${length}`).toBe(true);
  }
});
