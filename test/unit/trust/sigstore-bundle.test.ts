import { beforeAll, describe, expect, it } from 'vitest';
import {
  type IdentitySignature,
  verifyIdentitySignature,
} from '../../../src/trust/sigstore-identity.ts';
import { changed, entry, trusting } from './keyless-trust.ts';
import { refusalOf } from './signed-manifest.ts';
import { found, SigstoreWorld } from './sigstore-world.ts';

let world: SigstoreWorld;
beforeAll(async () => {
  world = await SigstoreWorld.create();
});

const refused = (signature: IdentitySignature, context = trusting(world)) =>
  refusalOf(verifyIdentitySignature(signature, context));

describe('a hostile bundle', () => {
  it('cannot make a regular expression of the name in a checkpoint', async () => {
    const path = `${entry}.inclusionProof.checkpoint.envelope`;
    const bundle = changed(await world.statementBundle(), path, (note) =>
      note.replace(/\u2014 \S+/, '\u2014 ((.+)+)+!'),
    );
    expect(await refused(found(bundle))).toContain('names no log');
  });

  it.each([
    [
      'of an unknown version',
      'mediaType',
      'application/vnd.dev.sigstore.bundle+json;version=0.9',
      'is not a sigstore bundle',
    ],
    ['without a certificate', 'verificationMaterial.certificate', undefined, 'cannot be read'],
    [
      'with a certificate that is none',
      'verificationMaterial.certificate.rawBytes',
      'aGVsbG8=',
      'certificate cannot be read',
    ],
    ['without proofs', 'verificationMaterial', {}, 'cannot be read'],
    ['without a signature', 'dsseEnvelope.signatures', [], 'cannot be read'],
    [
      'with a body that is no entry',
      `${entry}.canonicalizedBody`,
      'aGVsbG8=',
      'signed entry timestamp',
    ],
    [
      'with another payload type',
      'dsseEnvelope.payloadType',
      'text/plain',
      'not an in-toto statement',
    ],
  ])('%s is refused', async (_, path, value, expected) => {
    const bundle = changed(await world.statementBundle(), path, () => value);
    expect(await refused(found(bundle))).toContain(expected);
  });

  it('with more proofs than anybody needs is refused', async () => {
    const bundle = await world.statementBundle();
    const entries = (bundle as Record<string, Record<string, unknown[]>>)['verificationMaterial']?.[
      'tlogEntries'
    ];
    const many = Array.from({ length: 9 }, () => entries?.[0]);
    expect(
      await refused(found(changed(bundle, 'verificationMaterial.tlogEntries', () => many))),
    ).toContain('more than 8 proofs');
  });

  it('cannot be told by its annotations what its certificate is', async () => {
    const annotations = await world.annotations();
    expect(await refused({ ...annotations, certificate: 'hello' })).toContain(
      'not a PEM certificate',
    );
    expect(await refused({ ...annotations, bundle: '{"Payload":{}}' })).toContain('Payload.body');
  });
});
