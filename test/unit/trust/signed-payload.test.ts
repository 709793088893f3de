import { describe, expect, it } from 'vitest';
import {
  requireSignedImage,
  requireSignedReference,
  type WantedImage,
} from '../../../src/trust/signed-payload.ts';
import { requireSignedStatement } from '../../../src/trust/signed-statement.ts';
import { candidate } from './signed-image.ts';

const MANIFEST = candidate('manifest', 'the manifest');
const INDEX = candidate('index', 'the index');
const DIGEST = `sha256:${MANIFEST.digest.hex}`;
const OTHER = `sha256:${'0'.repeat(64)}`;
const WANTED: WantedImage = {
  candidates: [INDEX, MANIFEST],
  name: 'example.com/team/app',
  tag: '1.2',
  identity: 'tag',
};

function payload(reference: string, digest = DIGEST, type = 'atomic container signature'): Buffer {
  const critical = {
    type,
    image: { 'docker-manifest-digest': digest },
    identity: { 'docker-reference': reference },
  };
  return Buffer.from(JSON.stringify({ critical, optional: { creator: 'test' } }));
}

function check(reference: string, wanted: Partial<WantedImage> = {}) {
  return requireSignedImage(payload(reference), { ...WANTED, ...wanted });
}

describe('a simple-signing payload', () => {
  it('is about the manifest or the index, whichever digest it has', () => {
    const about = (digest: string) =>
      requireSignedImage(payload('example.com/team/app', digest), WANTED).candidate.what;
    expect(about(DIGEST)).toBe('manifest');
    expect(about(`sha256:${INDEX.digest.hex}`)).toBe('index');
  });

  it('may name the repository, the tag asked for, or the digest', () => {
    for (const reference of [
      'example.com/team/app',
      'example.com/team/app:1.2',
      `example.com/team/app@${DIGEST}`,
      `example.com/team/app:1.2@${DIGEST}`,
    ]) {
      expect(check(reference).signedReference).toBe(reference);
    }
  });

  it('of another digest never counts', () => {
    expect(() => requireSignedImage(payload('example.com/team/app', OTHER), WANTED)).toThrow(
      /for another image, sha256:0000/,
    );
    expect(() => check(`example.com/team/app@${OTHER}`)).toThrow(/another digest/);
    // The other document's digest is another one, too.
    expect(() => check(`example.com/team/app@sha256:${INDEX.digest.hex}`)).toThrow(
      /another digest/,
    );
  });

  it.each([
    'example.com/team/app2',
    'example.com/team',
    'example.com/team/app/part',
    'evil.org/team/app',
    'example.com:5000/team/app',
    'team/app',
  ])('for %s is for another repository', (reference) => {
    expect(() => check(reference)).toThrow(/another repository/);
  });

  it('for another tag counts only where the policy is the repository', () => {
    expect(() => check('example.com/team/app:1.1')).toThrow(/not for the tag "1.2"/);
    expect(check('example.com/team/app:1.1', { identity: 'repository' })).toBeDefined();
    expect(check('example.com/team/app:1.1', { tag: undefined })).toBeDefined();
  });

  it('knows Docker Hub by all its names', () => {
    const name = 'docker.io/library/busybox';
    for (const reference of [
      'busybox',
      'docker.io/busybox',
      'index.docker.io/library/busybox',
      'registry-1.docker.io/library/busybox:1.2',
    ]) {
      expect(check(reference, { name })).toBeDefined();
    }
    expect(() => check('docker.io/team/busybox', { name })).toThrow(/another repository/);
  });

  it.each(['', 'example.com/Team/app', 'example.com/team/app:-', 'example.com/team/app@sha256:12'])(
    'with %j for a reference is refused',
    (reference) => {
      expect(() => check(reference)).toThrow();
    },
  );

  it('must be of a known type, and hold nothing critical that is unknown', () => {
    const cosign = payload('example.com/team/app', DIGEST, 'cosign container image signature');
    expect(requireSignedImage(cosign, WANTED)).toBeDefined();
    const other = payload('example.com/team/app', DIGEST, 'file signature');
    expect(() => requireSignedImage(other, WANTED)).toThrow(/critical\.type/);
    const more = JSON.parse(payload('example.com/team/app').toString());
    more.critical.expires = 'tomorrow';
    expect(() => requireSignedImage(Buffer.from(JSON.stringify(more)), WANTED)).toThrow(
      /critical\.expires: is critical and unknown/,
    );
  });

  it('with a member given twice is refused', () => {
    const twice = payload('example.com/team/app')
      .toString()
      .replace('"image":', `"image":{"docker-manifest-digest":"${OTHER}"},"image":`);
    expect(() => requireSignedImage(Buffer.from(twice), WANTED)).toThrow(/twice/);
  });

  it('is refused with a code for what it is: a bad signature', () => {
    expect(() => requireSignedReference('evil.org/app', MANIFEST, WANTED)).toThrow(
      expect.objectContaining({ code: 'bad-signature' }),
    );
  });
});

describe('a signed statement', () => {
  const SIGNED = 'https://sigstore.dev/cosign/sign/v1';

  function statement(members: Record<string, unknown>): Buffer {
    return Buffer.from(
      JSON.stringify({
        _type: 'https://in-toto.io/Statement/v1',
        predicateType: SIGNED,
        subject: [{ digest: { sha256: MANIFEST.digest.hex } }],
        predicate: {},
        ...members,
      }),
    );
  }

  it('is about the image any of its subjects has the digest of', () => {
    const subject = [
      { digest: { sha256: '0'.repeat(64) } },
      { digest: { sha256: INDEX.digest.hex } },
    ];
    expect(requireSignedStatement(statement({}), WANTED).candidate.what).toBe('manifest');
    expect(requireSignedStatement(statement({ subject }), WANTED).candidate.what).toBe('index');
  });

  it('about another digest, or none, never counts', () => {
    const subject = [{ name: 'example.com/team/app', digest: { sha256: '0'.repeat(64) } }];
    expect(() => requireSignedStatement(statement({ subject }), WANTED)).toThrow(/another image/);
    expect(() => requireSignedStatement(statement({ subject: [] }), WANTED)).toThrow(
      /another image/,
    );
    const sha1 = [{ digest: { sha1: MANIFEST.digest.hex } }];
    expect(() => requireSignedStatement(statement({ subject: sha1 }), WANTED)).toThrow(
      /another image/,
    );
  });

  it('must name the repository where it names one', () => {
    const named = (name: string) =>
      statement({ subject: [{ name, digest: { sha256: MANIFEST.digest.hex } }] });
    const name = 'example.com/team/app';
    expect(requireSignedStatement(named(name), WANTED).signedReference).toBe(name);
    expect(requireSignedStatement(named('app.tar'), WANTED).signedReference).toBeUndefined();
    expect(() => requireSignedStatement(named('evil.org/team/app'), WANTED)).toThrow(
      /another repository/,
    );
  });

  it('that reports on an image is no signature', () => {
    const predicateType = 'https://cosign.sigstore.dev/attestation/vuln/v1';
    expect(() => requireSignedStatement(statement({ predicateType }), WANTED)).toThrow(
      /is no signature/,
    );
    const _type = 'https://in-toto.io/Link/v1';
    expect(() => requireSignedStatement(statement({ _type }), WANTED)).toThrow(/_type/);
  });
});
