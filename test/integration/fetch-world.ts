import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type CertificateAuthority,
  createAuthority,
} from '../../examples/quickstart/certificates.ts';
import {
  type Handler,
  type LocalServer,
  startHttpServer,
  startHttpsServer,
  startProxy,
} from '../../examples/quickstart/https-server.ts';
import { secure } from '../../src/config/insecure.ts';
import type { TransportContext } from '../../src/fetch/context.ts';
import type { Pace } from '../../src/fetch/pace.ts';
import type { Reporter } from '../../src/fetch/reporter.ts';

/** The hosts a world serves, all by one HTTPS server behind a proxy that knows them. */
export const hosts = ['example.com', 'files.example.com', 'other.example.net'] as const;

/** Fast enough for tests, and otherwise as ever. */
export const quickPace: Partial<Pace> = {
  connectTimeout: 5_000,
  headersTimeout: 2_000,
  bodyTimeout: 2_000,
  attempts: 3,
  firstDelay: 4,
  longestDelay: 60,
};

/** Everything that was reported, one line each, with `warning: ` before warnings. */
export class RecordedReport implements Reporter {
  readonly lines: string[] = [];
  readonly transfers: { label: string; total: number | undefined; bytes: number; done: boolean }[] =
    [];

  info(line: string): void {
    this.lines.push(line);
  }
  debug(line: string): void {
    this.lines.push(line);
  }
  warn(line: string): void {
    this.lines.push(`warning: ${line}`);
  }
  transfer(label: string, total?: number) {
    const transfer = { label, total, bytes: 0, done: false };
    this.transfers.push(transfer);
    return {
      advance: (bytes: number) => {
        transfer.bytes += bytes;
      },
      done: () => {
        transfer.done = true;
      },
    };
  }
}

/** Servers with real certificates, a proxy to reach them by name, and directories of its own. */
export class World {
  readonly authority: CertificateAuthority;
  readonly server: LocalServer;
  readonly httpServer: LocalServer;
  readonly proxy: LocalServer;
  readonly directory: string;
  readonly report = new RecordedReport();
  /** By `host/path`, `*` standing for any host; set anew by each test. */
  readonly pages: Map<string, Handler>;
  /** Every request the servers saw: `host/path` and its headers. */
  readonly seen: { place: string; headers: IncomingMessage['headers'] }[];

  private constructor(
    parts: Pick<World, 'authority' | 'server' | 'httpServer' | 'proxy' | 'pages' | 'seen'>,
  ) {
    this.authority = parts.authority;
    this.server = parts.server;
    this.httpServer = parts.httpServer;
    this.proxy = parts.proxy;
    this.pages = parts.pages;
    this.seen = parts.seen;
    this.directory = mkdtempSync(join(tmpdir(), 'gantry-fetch-'));
    writeFileSync(join(this.directory, 'ca.pem'), this.authority.certificate);
    for (const name of ['system', 'local']) mkdirSync(join(this.directory, name));
  }

  static async open(): Promise<World> {
    const authority = createAuthority('Gantry test CA');
    const pages = new Map<string, Handler>();
    const seen: World['seen'] = [];
    const handler = dispatchTo(pages, seen);
    const identity = authority.issue([...hosts, 'localhost', '127.0.0.1']);
    const server = await startHttpsServer(identity, handler);
    const httpServer = await startHttpServer(handler);
    const routes = new Map<string, number>();
    for (const host of hosts)
      routes.set(`${host}:443`, server.port).set(`${host}:80`, httpServer.port);
    const proxy = await startProxy(routes);
    return new World({ authority, server, httpServer, proxy, pages, seen });
  }

  /** Puts pages in place of the ones before, and forgets what was seen and said. */
  serve(pages: Readonly<Record<string, Handler>>): void {
    this.pages.clear();
    for (const [place, handler] of Object.entries(pages)) this.pages.set(place, handler);
    this.seen.length = 0;
    this.report.lines.length = 0;
    this.report.transfers.length = 0;
    this.proxy.requests.length = 0;
  }

  /** What a client needs to reach this world and believe its certificates. */
  context(changes: Partial<TransportContext> = {}): TransportContext {
    const proxy = `http://127.0.0.1:${this.proxy.port}`;
    return {
      directories: this.directories,
      insecure: secure,
      report: this.report,
      env: {
        SSL_CERT_FILE: join(this.directory, 'ca.pem'),
        HTTPS_PROXY: proxy,
        HTTP_PROXY: proxy,
      },
      pace: quickPace,
      ...changes,
    };
  }

  get directories() {
    return { system: join(this.directory, 'system'), local: join(this.directory, 'local') };
  }

  /** Places asked for so far, in order. */
  get places(): string[] {
    return this.seen.map(({ place }) => place);
  }

  /** Writes a file of `auth.d`. */
  configureAuth(domains: readonly string[], type: string, credentials: object): void {
    const directory = join(this.directory, 'local', 'auth.d');
    mkdirSync(directory, { recursive: true });
    const content = { rktKind: 'auth', rktVersion: 'v1', domains, type, credentials };
    writeFileSync(join(directory, 'test.json'), JSON.stringify(content), { mode: 0o600 });
  }

  removeAuth(): void {
    rmSync(join(this.directory, 'local', 'auth.d'), { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await this.proxy.close();
    await this.server.close();
    await this.httpServer.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function dispatchTo(pages: ReadonlyMap<string, Handler>, seen: World['seen']): Handler {
  return (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'https://localhost');
    const host = request.headers.host?.replace(/:\d+$/, '') ?? '';
    seen.push({ place: `${host}${pathname}`, headers: request.headers });
    const page = pages.get(`${host}${pathname}`) ?? pages.get(`*${pathname}`);
    if (page === undefined) response.writeHead(404).end('not found');
    else return page(request, response);
  };
}

/** Answers with a body, and headers beside its length. */
export function body(content: string | Uint8Array, headers: Record<string, string> = {}): Handler {
  return (_, response) => {
    response.writeHead(200, { 'content-length': String(content.length), ...headers });
    response.end(content);
  };
}

export function status(code: number, headers: Record<string, string> = {}): Handler {
  return (_, response) => {
    response.writeHead(code, headers).end();
  };
}

export function redirect(location: string, code = 302): Handler {
  return status(code, { location });
}

/** Answers the first requests with the handlers before the last, and all others with the last. */
export function inTurn(...handlers: Handler[]): Handler {
  let turn = 0;
  return (request, response) => {
    const handler = handlers[Math.min(turn++, handlers.length - 1)];
    return handler?.(request, response);
  };
}

/** Sends the head for the whole and the first `count` bytes, then cuts the connection. */
export function cutOff(
  content: Uint8Array,
  count: number,
  headers: Record<string, string> = {},
): Handler {
  return (request, response) => {
    const start = rangeStart(request);
    const partial = start > 0 ? { 'content-range': rangeOf(start, content.length) } : {};
    response.writeHead(start > 0 ? 206 : 200, {
      'content-length': String(content.length - start),
      ...partial,
      ...headers,
    });
    response.write(content.subarray(start, start + count), () => {
      // What was written must reach the client before the connection goes.
      setTimeout(() => response.destroy(), 20);
    });
  };
}

/** Serves ranges, as an ordinary server with these validators does. */
export function ranged(content: Uint8Array, headers: Record<string, string> = {}): Handler {
  return (request: IncomingMessage, response: ServerResponse) => {
    const condition = request.headers['if-range'];
    const holds = condition === headers['etag'] || condition === headers['last-modified'];
    const start = holds ? rangeStart(request) : 0;
    if (start === 0) return body(content, headers)(request, response);
    response.writeHead(206, {
      'content-length': String(content.length - start),
      'content-range': rangeOf(start, content.length),
      ...headers,
    });
    response.end(content.subarray(start));
  };
}

function rangeStart(request: IncomingMessage): number {
  return Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
}

function rangeOf(start: number, length: number): string {
  return `bytes ${start}-${length - 1}/${length}`;
}
