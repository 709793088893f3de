import { beforeAll, describe, expect, it } from 'vitest';
import { parseIdentity } from '../../../src/trust/keyless-identity.ts';
import {
  type IdentitySignature,
  verifyIdentitySignature,
} from '../../../src/trust/sigstore-identity.ts';
import { changed, entry, trusting } from './keyless-trust.ts';
import { imageCandidate, provenanceOf, refusalOf } from './signed-manifest.ts';
import {
  cosignPayload,
  cosignStatement,
  found,
  identity,
  issuer,
  SigstoreWorld,
} from './sigstore-world.ts';

let world: SigstoreWorld;
beforeAll(async () => {
  world = await SigstoreWorld.create();
});

const refused = (signature: IdentitySignature, context = trusting(world)) =>
  refusalOf(verifyIdentitySignature(signature, context));
const accepted = (signature: IdentitySignature, context = trusting(world)) =>
  provenanceOf(verifyIdentitySignature(signature, context));

/** Another byte in the middle of some base64. */
function spoiled(text: string): string {
  const bytes = Buffer.from(text, 'base64');
  const middle = bytes.length >> 1;
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  return bytes.toString('base64');
}

describe('a keyless signature', () => {
  it('is accepted as a bundle with a statement', async () => {
    expect(await accepted(found(await world.statementBundle()))).toMatchObject({
      kind: 'sigstore-identity',
      identity,
      issuer,
      logIndex: expect.stringMatching(/^\d+$/),
      signedAt: expect.stringMatching(/^20.*Z$/),
      signature: 'bundle',
      signed: { what: 'manifest', digest: imageCandidate.digest },
    });
  });

  it('is accepted with the log entry of Rekor 2', async () => {
    await accepted(found(await world.statementBundle({ loggedWhole: true })));
  });

  it('is accepted as a bundle over the manifest itself', async () => {
    expect(await accepted(found(await world.messageBundle()))).toMatchObject({ identity });
  });

  it('is accepted as the annotations cosign wrote before bundles', async () => {
    expect(await accepted(await world.annotations())).toMatchObject({
      signature: 'cosign',
      signedReference: 'registry.example.com/team/app:1.0',
    });
  });

  it('is accepted with a log entry and a signed timestamp', async () => {
    await accepted(await world.annotations({ timestamp: true }));
    await accepted(found(await world.statementBundle({ timestamp: true })));
  });

  it('is accepted with a signed timestamp alone where the deployment has no log', async () => {
    const context = trusting(world);
    world.install(context.directories, ['tlogs']);
    const signature = found(await world.statementBundle({ log: false, timestamp: true }));
    expect(await accepted(signature, context)).not.toHaveProperty('logIndex');
  });

  it('is refused with a signed timestamp alone where the deployment has a log', async () => {
    const bundle = await world.statementBundle({ log: false, timestamp: true });
    expect(await refused(found(bundle))).toContain('no entry in the transparency log');
  });

  it('is accepted by a regular expression that matches the whole identity', async () => {
    const who = parseIdentity('^https://github\\.com/team/app/.*$', issuer);
    await accepted(found(await world.statementBundle()), trusting(world, who));
  });
});

describe('an identity that only resembles the trusted one is refused:', () => {
  it.each([
    ['with something behind it', `${identity}x`],
    ['with something before it', `x${identity}`],
    ['in other case', identity.toUpperCase()],
    ['of another branch', identity.replace('main', 'mein')],
  ])('%s', async (_, other) => {
    const reason = await refused(found(await world.statementBundle({ identity: other })));
    expect(reason).toContain(`its certificate is for "${other}"`);
    expect(reason).toContain(`is only "${identity}"`);
  });

  it.each([
    ['behind a pattern', '^https://github\\.com/team$', 'https://github.com/team-evil'],
    [
      'before a pattern',
      '^https://github\\.com/team$',
      'https://evil.example/https://github.com/team',
    ],
    [
      'beside an alternative',
      '^https://a\\.example|https://b\\.example$',
      'https://a.example.evil.example',
    ],
  ])('%s', async (_, pattern, other) => {
    const signature = found(await world.statementBundle({ identity: other }));
    expect(await refused(signature, trusting(world, parseIdentity(pattern, issuer)))).toContain(
      other,
    );
  });

  it('from another issuer', async () => {
    const signature = found(await world.statementBundle({ issuer: `${issuer}.evil.example` }));
    expect(await refused(signature)).toContain(`(issuer ${issuer}.evil.example)`);
  });

  it('spelt in bytes that ASCII would take for the same', async () => {
    // Fulcio would not issue it; an authority of one's own may be less careful.
    const other = identity.replace('t', String.fromCharCode('t'.charCodeAt(0) | 0x80));
    const bundle = await world.statementBundle({ identity: other });
    expect(await refused(found(bundle))).toContain('a name that is not ASCII');
  });

  it('where none is trusted at all', async () => {
    const context = { ...trusting(world), keys: [] };
    expect(await refused(found(await world.statementBundle()), context)).toContain(
      'no identity is trusted',
    );
  });
});

describe('a proof that does not hold is named:', () => {
  it.each([
    [
      'the inclusion promise',
      `${entry}.inclusionPromise.signedEntryTimestamp`,
      'signed entry timestamp',
    ],
    ['the time of the entry', `${entry}.integratedTime`, 'signed entry timestamp'],
    ['the checkpoint', `${entry}.inclusionProof.checkpoint.envelope`, 'proof of inclusion'],
    ['the signature', 'dsseEnvelope.signatures.0.sig', 'not about this signature'],
    ['the statement', 'dsseEnvelope.payload', 'not about this signature'],
    ['the entry', `${entry}.canonicalizedBody`, 'transparency log'],
  ])('%s', async (_, path, expected) => {
    const spoil: (value: string) => string = path.endsWith('Time')
      ? (time: string) => String(Number(time) + 1)
      : path.endsWith('envelope')
        ? (note: string) => note.replace('\n1\n', '\n2\n')
        : spoiled;
    const bundle = changed(await world.statementBundle(), path, spoil);
    expect(await refused(found(bundle))).toContain(expected);
  });

  it('the proof of inclusion alone', async () => {
    const bundle = changed(
      await world.statementBundle(),
      `${entry}.inclusionProof.logIndex`,
      () => '7',
    );
    expect(await refused(found(bundle))).toContain('proof of inclusion does not hold');
  });

  it('the signed timestamp', async () => {
    const path =
      'verificationMaterial.timestampVerificationData.rfc3161Timestamps.0.signedTimestamp';
    const bundle = changed(await world.statementBundle({ timestamp: true }), path, (text) => {
      const bytes = Buffer.from(text, 'base64');
      bytes[bytes.length - 3] = (bytes[bytes.length - 3] ?? 0) ^ 1;
      return bytes.toString('base64');
    });
    expect(await refused(found(bundle))).toContain('signed timestamp does not hold');
  });

  it("another signature's timestamp", async () => {
    const path = 'verificationMaterial';
    const [mine, other] = await Promise.all(
      [1, 2].map(() => world.statementBundle({ timestamp: true })),
    );
    const theirs = (other as Record<string, Record<string, unknown>>)[path]?.[
      'timestampVerificationData'
    ];
    const bundle = changed(mine, `${path}.timestampVerificationData`, () => theirs);
    expect(await refused(found(bundle))).toContain('signed timestamp does not hold');
  });

  it("another signature's entry", async () => {
    const [mine, other] = await Promise.all([1, 2].map(() => world.statementBundle()));
    const theirs = (other as Record<string, Record<string, unknown>>)['verificationMaterial']?.[
      'tlogEntries'
    ];
    const bundle = changed(mine, 'verificationMaterial.tlogEntries', () => theirs);
    expect(await refused(found(bundle))).toContain('not about this signature');
  });

  it('the signature in the annotations', async () => {
    const annotations = await world.annotations();
    expect(await refused({ ...annotations, signature: spoiled(annotations.signature) })).toContain(
      'not about this signature',
    );
  });

  it("another certificate in the log's entry", async () => {
    const bundle = await world.statementBundle({ loggedAsAnother: true });
    expect(await refused(found(bundle))).toContain('about another certificate');
  });

  it('the missing entry in the certificate log', async () => {
    const bundle = await world.statementBundle({ sct: false });
    expect(await refused(found(bundle))).toMatch(/certificate .* does not hold .*SCT/);
  });
});

describe('the time of a keyless signature', () => {
  it('must be proven', async () => {
    const bundle = await world.statementBundle({ log: false });
    expect(await refused(found(bundle))).toContain('nothing proves that it was signed while');
  });

  it('must be proven by more than the entry without the promise', async () => {
    const bundle = changed(
      await world.statementBundle(),
      `${entry}.inclusionPromise`,
      () => undefined,
    );
    expect(await refused(found(bundle))).toContain('nothing proves');
  });

  it('must lie within the certificate', async () => {
    const late = await SigstoreWorld.create(new Date(Date.now() + 60 * 60_000));
    const context = trusting(world);
    late.install(context.directories);
    const reason = await refused(found(await late.statementBundle()), context);
    expect(reason).toContain('was not valid at the time it is proven to be signed');
  });
});

describe('what is signed', () => {
  const elsewhere = 'cd'.repeat(32);

  it('must be this image, in a statement', async () => {
    const bundle = await world.statementBundle({ payload: cosignStatement(elsewhere) });
    expect(await refused(found(bundle))).toContain('another image');
  });

  it('must be this image, by itself', async () => {
    const bundle = await world.messageBundle({ payload: Buffer.from('{}') });
    expect(await refused(found(bundle))).toContain('another image');
  });

  it('must be this image, in a payload', async () => {
    const annotations = await world.annotations({ payload: cosignPayload(elsewhere) });
    expect(await refused(annotations)).toContain('another image');
  });

  it('must be in this repository', async () => {
    const payload = cosignPayload(imageCandidate.digest.hex, 'registry.example.com/team/other:1.0');
    expect(await refused(await world.annotations({ payload }))).toContain('another repository');
  });

  it('must not be told apart from the payload', async () => {
    const annotations = await world.annotations({ payload: cosignPayload(elsewhere) });
    expect(await refused({ ...annotations, payload: cosignPayload() })).toContain(
      'not about this signature',
    );
  });
});
