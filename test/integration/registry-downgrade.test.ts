import { writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createAuthority } from '../../examples/quickstart/certificates.ts';
import { secure } from '../../src/config/insecure.ts';
import type { TransportContext } from '../../src/fetch/context.ts';
import { imageOf } from '../support/oci-image.ts';
import { RegistryClient } from './registry-client.ts';

const HOST = 'registry.example';
const image = imageOf([]);
const authority = createAuthority('Everybody');
const identity = authority.issue([HOST]);

/** Whatever was sent over plain HTTP, and what it showed. */
let overheard: (string | undefined)[];
/** From then on nothing gets through to the registry any more but plain HTTP, to somebody else. */
let isCut: boolean;
let servers: Server[];
let client: RegistryClient;
let changes: Partial<TransportContext>;

beforeEach(async () => {
  overheard = [];
  isCut = false;
  const registry = createHttpsServer({ cert: identity.certificate, key: identity.key });
  registry.on('request', (request, response) => {
    response.setHeader('connection', 'close');
    if (request.headers.authorization === undefined) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="here"' }).end();
    } else {
      response.setHeader('content-type', image.root.mediaType).end(image.root.bytes);
    }
  });
  // What wants no tunnel comes in the clear, to whoever is in between.
  const proxy = createHttpServer((request, response) => {
    overheard.push(request.headers.authorization);
    response.writeHead(404).end();
  });
  proxy.on('connect', (_request, socket: Socket) => {
    const to = connect(portOf(isCut ? proxy : registry), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connected\r\n\r\n');
      socket.pipe(to).pipe(socket);
    });
    for (const end of [to, socket]) end.on('error', () => [to, socket].map((one) => one.destroy()));
  });
  servers = [registry, proxy];
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  }
  client = new RegistryClient('');
  client.configure('dockerAuth', {
    registries: [HOST],
    credentials: { user: 'ada', password: 'secret' },
  });
  const ca = join(client.directory, 'ca.pem');
  writeFileSync(ca, authority.certificate);
  const url = `http://127.0.0.1:${portOf(proxy)}`;
  changes = {
    insecure: { ...secure, http: true },
    env: {
      SSL_CERT_FILE: ca,
      https_proxy: url,
      http_proxy: url,
    },
  };
});
afterEach(() => {
  for (const server of servers) {
    (server as HttpServer).closeAllConnections();
    server.close();
  }
});

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

describe('a registry that spoke HTTPS', () => {
  it('is not spoken to in the clear when somebody cuts that off, --insecure-options=http or not', async () => {
    const asking = client.read(
      `${HOST}/team/app`,
      async (source) => {
        expect(await source.manifest('1.0')).toBeDefined();
        isCut = true;
        return await source.manifest('1.0');
      },
      changes,
    );
    await expect(asking).rejects.toMatchObject({ code: 'network' });
    expect(overheard.filter((authorization) => authorization !== undefined)).toEqual([]);
  });
});
