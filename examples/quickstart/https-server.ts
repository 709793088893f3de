import { createReadStream, type Stats, statSync } from 'node:fs';
import {
  createServer as createHttpServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { join, normalize } from 'node:path';
import { pipeline } from 'node:stream';
import type { Identity } from './certificates.ts';

/** Answers one request; what it throws becomes a 500. */
export type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

/** A server on a free port of 127.0.0.1. */
export interface LocalServer {
  readonly port: number;
  /** Every request so far, as `METHOD /path?query`; for CONNECT, `CONNECT host:port`. */
  readonly requests: string[];
  /** Closes it, cutting connections that are still open. */
  close(): Promise<void>;
}

/** Starts an HTTPS server that shows `identity` and answers with `handler`. */
export function startHttpsServer(identity: Identity, handler: Handler): Promise<LocalServer> {
  const server = createHttpsServer({ cert: identity.certificate, key: identity.key });
  return listen(server, handler);
}

/** Starts a server that speaks plain HTTP: what `--insecure-options=http` is for. */
export function startHttpServer(handler: Handler): Promise<LocalServer> {
  return listen(createHttpServer(), handler);
}

/**
 * Starts a proxy that knows only the hosts it is told: `CONNECT host:port` to a host in `routes`
 * reaches the local port given there, so a name such as `example.com:443` can be served by this
 * machine with nothing changed but `HTTPS_PROXY`. Requests in absolute form are passed on in the
 * same way (port 80 unless named); every other host is answered 403.
 *
 * @param routes `host:port` to a port of 127.0.0.1
 * @param identity shown to clients that reach the proxy itself by https
 */
export async function startProxy(
  routes: ReadonlyMap<string, number>,
  identity?: Identity,
): Promise<LocalServer> {
  const server =
    identity === undefined
      ? createHttpServer()
      : createHttpsServer({ cert: identity.certificate, key: identity.key });
  const proxy = await listen(server, (request, response) => forward(routes, request, response));
  const tunnels = new Set<Socket>();
  server.on('connect', (request: IncomingMessage, client: Socket, head: Buffer) => {
    proxy.requests.push(`CONNECT ${request.url}`);
    const port = routes.get(request.url ?? '');
    if (port === undefined) {
      client.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    tunnels.add(client);
    client.once('close', () => tunnels.delete(client));
    tunnel(client, head, port);
  });
  return {
    port: proxy.port,
    requests: proxy.requests,
    close: () => {
      for (const client of tunnels) client.destroy();
      return proxy.close();
    },
  };
}

function tunnel(client: Socket, head: Buffer, port: number): void {
  const upstream = connect(port, '127.0.0.1', () => {
    client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
    if (head.length > 0) upstream.write(head);
    upstream.pipe(client);
    client.pipe(upstream);
  });
  // A peer that goes away takes the other side of the tunnel with it.
  upstream.on('error', () => client.destroy());
  upstream.on('close', () => client.destroy());
  client.on('error', () => upstream.destroy());
  client.on('close', () => upstream.destroy());
}

function forward(
  routes: ReadonlyMap<string, number>,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const url = URL.parse(request.url ?? '');
  const port = url === null ? undefined : routes.get(`${url.hostname}:${url.port || 80}`);
  if (url === null || port === undefined) {
    response.writeHead(403).end();
    return;
  }
  const upstream = httpRequest(
    {
      host: '127.0.0.1',
      port,
      method: request.method,
      path: `${url.pathname}${url.search}`,
      headers: request.headers,
    },
    (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      pipeline(answer, response, () => {});
    },
  );
  upstream.on('error', () => response.destroy());
  request.pipe(upstream);
}

/**
 * Serves the files below `directory` with validators and single ranges (RFC 9110 sections 13 and
 * 14), as any ordinary web server would; a query is ignored, a directory answers its `index.html`.
 */
export function serveDirectory(directory: string): Handler {
  return (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'https://localhost');
    // normalize() of an absolute path cannot climb above its root.
    const path = join(directory, normalize(decodeURIComponent(pathname)));
    const found = statSync(path, { throwIfNoEntry: false });
    const file = found?.isDirectory() ? join(path, 'index.html') : path;
    const stats = statSync(file, { throwIfNoEntry: false });
    if (!stats?.isFile()) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('not found\n');
      return;
    }
    sendFile(file, stats, request, response);
  };
}

function sendFile(
  file: string,
  stats: Stats,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const etag = `"${stats.size.toString(16)}-${Math.trunc(stats.mtimeMs).toString(16)}"`;
  response.setHeader('etag', etag);
  response.setHeader('last-modified', stats.mtime.toUTCString());
  response.setHeader('accept-ranges', 'bytes');
  response.setHeader('content-type', contentTypeOf(file));
  if (request.headers['if-none-match'] === etag) {
    response.writeHead(304).end();
    return;
  }
  const start = rangeStart(request, etag, stats);
  if (start >= stats.size && start > 0) {
    response.writeHead(416, { 'content-range': `bytes */${stats.size}` }).end();
    return;
  }
  if (start > 0) {
    response.statusCode = 206;
    response.setHeader('content-range', `bytes ${start}-${stats.size - 1}/${stats.size}`);
  }
  response.setHeader('content-length', stats.size - start);
  if (request.method === 'HEAD') response.end();
  else pipeline(createReadStream(file, { start, highWaterMark: 1 << 18 }), response, () => {});
}

/** Where to begin: 0 unless a `bytes=N-` range is asked for and its If-Range still holds. */
function rangeStart(request: IncomingMessage, etag: string, stats: Stats): number {
  const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
  const condition = request.headers['if-range'];
  if (range === null) return 0;
  const holds =
    condition === undefined || condition === etag || condition === stats.mtime.toUTCString();
  return holds ? Number(range[1]) : 0;
}

function contentTypeOf(file: string): string {
  if (file.endsWith('.html')) return 'text/html; charset=utf-8';
  if (file.endsWith('.asc') || file.endsWith('.gpg')) return 'application/pgp-keys';
  return 'application/octet-stream';
}

async function listen(server: Server, handler: Handler): Promise<LocalServer> {
  const requests: string[] = [];
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    requests.push(`${request.method} ${request.url}`);
    Promise.resolve()
      .then(() => handler(request, response))
      .catch((error: unknown) => {
        if (!response.headersSent) response.writeHead(500);
        response.end(String(error));
      });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
