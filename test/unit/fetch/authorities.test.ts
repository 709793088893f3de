import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadAuthorities } from '../../../src/fetch/authorities.ts';

const certificate = (name: string) =>
  `-----BEGIN CERTIFICATE-----\n${name}\n-----END CERTIFICATE-----\n`;

describe('certificate authorities', () => {
  let directory = '';
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'gantry-authorities-'));
    writeFileSync(join(directory, 'a.pem'), certificate('a'));
    writeFileSync(join(directory, 'README'), 'no certificate');
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it('are those of SSL_CERT_FILE alone', () => {
    const file = join(directory, 'a.pem');
    expect(loadAuthorities({ SSL_CERT_FILE: file })).toEqual([certificate('a')]);
  });

  it('are those of every certificate in the directories of SSL_CERT_DIR', () => {
    expect(loadAuthorities({ SSL_CERT_DIR: `${directory}:` })).toEqual([certificate('a')]);
  });

  it('are those of both where both are set', () => {
    const file = join(directory, 'b.crt');
    writeFileSync(file, certificate('b'));
    const env = { SSL_CERT_FILE: file, SSL_CERT_DIR: directory };
    expect(loadAuthorities(env)).toEqual([certificate('b'), certificate('a'), certificate('b')]);
  });

  it('refuses a file that is not there or holds none', () => {
    const missing = join(directory, 'missing');
    expect(() => loadAuthorities({ SSL_CERT_FILE: missing })).toThrow(/SSL_CERT_FILE.*ENOENT/);
    const text = join(directory, 'README');
    expect(() => loadAuthorities({ SSL_CERT_FILE: text })).toThrow(/no PEM certificate/);
  });

  it('refuses directories without any', () => {
    rmSync(join(directory, 'a.pem'));
    expect(() => loadAuthorities({ SSL_CERT_DIR: directory })).toThrow(/no certificate/);
    expect(() => loadAuthorities({ SSL_CERT_DIR: '/nonexistent' })).toThrow(/SSL_CERT_DIR/);
  });
});
