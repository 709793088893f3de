import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { secure } from '../../src/config/insecure.ts';
import type { TransportContext } from '../../src/fetch/context.ts';
import { fetchPublicKeys, type KeyPlace } from '../../src/fetch/public-keys.ts';
import { body, redirect, status, World } from './fetch-world.ts';

let world: World;
beforeAll(async () => {
  world = await World.open();
});
afterAll(() => world.close());

async function fetchKeys(place: KeyPlace, changes: Partial<TransportContext> = {}) {
  const keys = await fetchPublicKeys(place, world.context(changes));
  return keys.map(({ url, bytes }) => [url, Buffer.from(bytes).toString()]);
}

const url = 'https://example.com/keys.gpg';

function discoveryPage(location: string) {
  return body(`<meta name="ac-discovery-pubkeys" content="example.com ${location}">`);
}

describe('public keys', () => {
  it('come from an https URL', async () => {
    world.serve({ 'example.com/keys.gpg': body('KEY') });
    expect(await fetchKeys({ location: url })).toEqual([[url, 'KEY']]);
  });

  it('come from a path, or a file URL', async () => {
    const path = join(world.directory, 'key.asc');
    writeFileSync(path, 'KEY');
    expect(await fetchKeys({ location: path })).toEqual([[path, 'KEY']]);
    expect(await fetchKeys({ location: `file://${path}` })).toEqual([[path, 'KEY']]);
  });

  it('come from where discovery says', async () => {
    world.serve({ 'example.com/app': discoveryPage(url), 'example.com/keys.gpg': body('KEY') });
    expect(await fetchKeys({ prefix: 'example.com/app' })).toEqual([[url, 'KEY']]);
  });

  it('are named without user and password', async () => {
    world.serve({ 'example.com/keys.gpg': body('KEY') });
    const location = 'https://me:hidden@example.com/keys.gpg';
    expect(await fetchKeys({ location })).toEqual([[url, 'KEY']]);
  });

  it('over plain http are refused, whatever holds for images', async () => {
    const location = 'http://example.com/keys.gpg';
    world.serve({
      'example.com/keys.gpg': body('KEY'),
      'example.com/app': discoveryPage(location),
    });
    const insecure = { ...secure, http: true, tls: true, image: true };
    const refusal = /plain http is refused.*--insecure-options=pubkey/;
    await expect(fetchKeys({ location }, { insecure })).rejects.toThrow(refusal);
    await expect(fetchKeys({ prefix: 'example.com/app' }, { insecure })).rejects.toThrow(refusal);
    expect(world.places).toEqual(['example.com/app']);
  });

  it('over plain http are taken with --insecure-options=pubkey', async () => {
    const location = 'http://example.com/keys.gpg';
    world.serve({ 'example.com/keys.gpg': body('KEY') });
    const insecure = { ...secure, pubkey: true };
    expect(await fetchKeys({ location }, { insecure })).toEqual([[location, 'KEY']]);
  });

  it('are not taken where https redirects to http', async () => {
    world.serve({ 'example.com/keys.gpg': redirect('http://example.com/plain.gpg') });
    const insecure = { ...secure, pubkey: true };
    await expect(fetchKeys({ location: url }, { insecure })).rejects.toThrow(/from https to http/);
  });

  it('are never a local file because a server says so', async () => {
    world.serve({ 'example.com/app': discoveryPage('file:///etc/passwd') });
    await expect(fetchKeys({ prefix: 'example.com/app' })).rejects.toThrow(/only https/);
    world.serve({ 'example.com/app': discoveryPage('/etc/passwd') });
    await expect(fetchKeys({ prefix: 'example.com/app' })).rejects.toThrow(/discovery failed/);
  });

  it('that are missing or too large are an error', async () => {
    world.serve({ 'example.com/keys.gpg': status(404) });
    await expect(fetchKeys({ location: url })).rejects.toThrow('bad HTTP status code: 404');
    await expect(fetchKeys({ location: '/nonexistent/key' })).rejects.toThrow(
      'error accessing the key /nonexistent/key: no such file or directory',
    );
    await expect(fetchKeys({ location: world.directory })).rejects.toThrow(/not a regular file/);
    world.serve({ 'example.com/keys.gpg': body(Buffer.alloc((1 << 20) + 1)) });
    await expect(fetchKeys({ location: url })).rejects.toThrow(/larger than/);
  });
});
