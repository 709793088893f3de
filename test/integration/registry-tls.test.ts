import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createAuthority } from '../../examples/quickstart/certificates.ts';
import { imageOf } from '../support/oci-image.ts';
import { RegistryClient } from './registry-client.ts';

const image = imageOf([]);
const authority = createAuthority('The authority of one host');
const identity = authority.issue(['localhost']);
const stranger = createAuthority('Somebody else');

let server: Server;
let host: string;
let client: RegistryClient;
/** What the last client showed of itself. */
let shown: boolean;

beforeAll(async () => {
  const options = { cert: identity.certificate, key: identity.key, ca: authority.certificate };
  server = createServer({ ...options, requestCert: true, rejectUnauthorized: false });
  server.on('request', (request, response) => {
    shown = 'subject' in (request.socket as TLSSocket).getPeerCertificate();
    response.setHeader('content-type', image.root.mediaType).end(image.root.bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  host = `localhost:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  client = new RegistryClient('');
});

function file(name: string, content: string): string {
  const path = join(client.directory, name);
  writeFileSync(path, content);
  return path;
}

const read = (env: Record<string, string> = {}) =>
  client.read(`${host}/team/app`, (source) => source.manifest('1.0'), { env });

describe('a registry of an authority of its own', () => {
  it('is not believed without more', async () => {
    await expect(read()).rejects.toThrow(/certificate is not trusted/);
  });

  it('is believed where registries.d names the authority, and then by that alone', async () => {
    const ca = file('ca.pem', authority.certificate);
    client.configure('registries', { prefix: host, tls: { ca } });
    expect(await read()).toBeDefined();
    expect(shown).toBe(false);
    file('ca.pem', stranger.certificate);
    const everybody = file('everybody.pem', authority.certificate);
    await expect(read({ SSL_CERT_FILE: everybody })).rejects.toThrow(/certificate is not trusted/);
  });

  it('is shown the certificate registries.d has for it', async () => {
    const ca = file('ca.pem', authority.certificate);
    const certificate = file('own.pem', identity.certificate);
    const key = file('own.key', identity.key);
    client.configure('registries', { prefix: `${host}/team`, tls: { ca, certificate, key } });
    expect(await read()).toBeDefined();
    expect(shown).toBe(true);
  });

  it('is believed, and shown a certificate, as podman and docker have it in certs.d', async () => {
    const folder = join('.config/containers/certs.d', host);
    mkdirSync(join(client.directory, folder), { recursive: true });
    file(join(folder, 'ca.crt'), authority.certificate);
    file(join(folder, 'client.cert'), identity.certificate);
    file(join(folder, 'client.key'), identity.key);
    expect(await read({ HOME: client.directory })).toBeDefined();
    expect(shown).toBe(true);
  });

  it('with a file that is not there is a mistake to be told', async () => {
    client.configure('registries', { prefix: host, tls: { ca: '/nowhere/ca.pem' } });
    await expect(read()).rejects.toThrow('/nowhere/ca.pem: cannot be read: no such file');
    expect(() => client.configure('registries', {})).not.toThrow();
    await expect(read()).rejects.toThrow(/prefix: is required/);
  });
});
