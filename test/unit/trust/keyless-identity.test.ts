import { describe, expect, it } from 'vitest';
import {
  formatIdentityFile,
  matchesSubject,
  parseIdentity,
  parseIdentityFile,
  patternWarning,
} from '../../../src/trust/keyless-identity.ts';

const ISSUER = 'https://accounts.example.com';

function file(members: Record<string, unknown>): Buffer {
  return Buffer.from(JSON.stringify({ gantryKind: 'identity', version: 'v1', ...members }));
}

function matches(subject: string, name: string): boolean {
  return matchesSubject(parseIdentity(subject, ISSUER).subject, name);
}

describe('an exact identity', () => {
  it('is that identity and no other', () => {
    expect(matches('ada@example.com', 'ada@example.com')).toBe(true);
    expect(matches('ada@example.com', 'ada@example.com.evil.org')).toBe(false);
    expect(matches('ada@example.com', 'adaXexample.com')).toBe(false);
    expect(matches('ada@example.com', 'Ada@example.com')).toBe(false);
    expect(matches('ada@example.com', '')).toBe(false);
  });

  it.each([
    '*@example.com',
    'https://github.com/team/*',
    'https://github.com/team/.*$',
    '',
    'a\nb',
  ])('is not %j', (text) => {
    expect(() => parseIdentity(text, ISSUER)).toThrow(/^not a usable identity: /);
  });
});

describe('a pattern of identities', () => {
  it('matches the whole identity', () => {
    const pattern = '^https://github\\.com/team/.*$';
    expect(matches(pattern, 'https://github.com/team/app')).toBe(true);
    expect(matches(pattern, 'https://github.com/team2/app')).toBe(false);
    expect(matches(pattern, 'https://githubXcom/team/app')).toBe(false);
    expect(matches(pattern, 'https://evil.org/?https://github.com/team/app')).toBe(false);
    expect(matches(pattern, 'https://github.com/team/app\nx')).toBe(false);
  });

  it('matches the whole of each alternative', () => {
    expect(matches('^ada@a\\.org|bob@b\\.org$', 'bob@b.org')).toBe(true);
    expect(matches('^ada@a\\.org|bob@b\\.org$', 'ada@a.org.evil.org')).toBe(false);
    expect(matches('^ada@a\\.org|bob@b\\.org$', 'evil+bob@b.org')).toBe(false);
  });

  it.each(['^ada@', '^ada@\\$', '^a)|(b$', '^(a$', '^.*$', '^.+$', '^$', '^x|.*$'])(
    'is not %j',
    (text) => {
      expect(() => parseIdentity(text, ISSUER)).toThrow(/^not a usable identity: /);
    },
  );

  it('is remarked on where a dot stands for any character', () => {
    const warning = (text: string) => patternWarning(parseIdentity(text, ISSUER).subject);
    expect(warning('^https://github.com/team/.*$')).toMatch(/any character/);
    expect(warning('^https://github\\.com/team/.*$')).toBeUndefined();
    expect(warning('ada@example.com')).toBeUndefined();
  });
});

describe('the issuer of an identity', () => {
  it.each([
    'http://accounts.example.com',
    'accounts.example.com',
    'https://user@accounts.example.com',
    'https://accounts.example.com/?a',
    'https://accounts.example.com /',
  ])('is not %j', (issuer) => {
    expect(() => parseIdentity('ada@example.com', issuer)).toThrow(/is not an https:\/\/ URL/);
  });
});

describe('a pattern that takes for ever over some name', () => {
  it('is given up, and the signature refused', () => {
    const { subject } = parseIdentity('^https://github\\.com/(team/)*(app|app/)+x$', ISSUER);
    expect(matchesSubject(subject, 'https://github.com/team/appx')).toBe(true);
    const endless = parseIdentity('^([a-z]+)+@example\\.com$', ISSUER).subject;
    expect(() => matchesSubject(endless, `${'a'.repeat(60)}!`)).toThrow(
      /^the trusted pattern .* does not come to an end/,
    );
  });

  it('is handed the name as text, whatever that looks like', () => {
    const { subject } = parseIdentity('^a[^]*b$', ISSUER);
    expect(matchesSubject(subject, 'a"+process.exit(7)+"\u2028b')).toBe(true);
  });
});

describe('the file of an identity', () => {
  it('is read however it is laid out, and written one way', () => {
    const identity = parseIdentityFile(
      Buffer.from(
        `{ "version": "v1", "subject": "ada@example.com",\n "issuer": "${ISSUER}", "gantryKind": "identity" }`,
      ),
    );
    expect(identity).toEqual({
      issuer: ISSUER,
      subject: { match: 'exact', text: 'ada@example.com' },
    });
    expect(formatIdentityFile(identity)).toBe(
      `{"gantryKind":"identity","version":"v1","issuer":"${ISSUER}","subject":"ada@example.com"}\n`,
    );
  });

  it('takes a subject for text even where it looks like a pattern', () => {
    const { subject } = parseIdentityFile(file({ issuer: ISSUER, subject: '^ada@example.com' }));
    expect(matchesSubject(subject, 'ada@example.com')).toBe(false);
  });

  it.each([
    { issuer: ISSUER },
    { issuer: ISSUER, subject: 'a@b.org', subjectPattern: '^a@b\\.org$' },
    { issuer: ISSUER, subject: 'a@b.org', onlyOnSundays: true },
    { subject: 'a@b.org' },
    { issuer: ISSUER, subject: 'a@b.org', version: 'v2' },
    { issuer: ISSUER, subject: 'a@b.org', gantryKind: 'auth' },
  ])('is refused as %j', (members) => {
    expect(() => parseIdentityFile(file(members))).toThrow();
  });

  it('is refused with a member given twice', () => {
    const twice = `{"gantryKind":"identity","version":"v1","issuer":"${ISSUER}","subject":"a@b.org","subject":"c@d.org"}`;
    expect(() => parseIdentityFile(Buffer.from(twice))).toThrow(/twice/);
  });

  it('is not quoted when it is something else', () => {
    const secret = '{"type":"service_account","private_key":"hunter2"';
    expect(() => parseIdentityFile(Buffer.from(secret))).toThrow(/^identity: not valid JSON$/);
  });
});
