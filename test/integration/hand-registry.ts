import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthority } from '../../examples/quickstart/certificates.ts';
import {
  type Handler,
  type LocalServer,
  startHttpsServer,
} from '../../examples/quickstart/https-server.ts';
import { secure } from '../../src/config/insecure.ts';
import type { FetchContext } from '../../src/fetch/context.ts';
import { fetchImage } from '../../src/fetch/fetch.ts';
import type { ImageRecord } from '../../src/image/image-record.ts';
import { parseReference } from '../../src/image/reference.ts';
import { defaultUnpackLimits } from '../../src/image/unpack-limits.ts';
import { Store } from '../../src/store/store.ts';
import type { OciBlob, OciContent } from '../support/oci-image.ts';
import { body, quickPace, RecordedReport } from './fetch-world.ts';

/**
 * A registry made by hand, which can be interrupted, slow and wrong as no real one is, and stores
 * that fetch from it without asking who signed.
 */
export class HandRegistry {
  readonly directory = mkdtempSync(join(tmpdir(), 'gantry-hand-'));
  readonly report = new RecordedReport();
  /** What was asked for: paths below a repository, such as `blobs/sha256:…`, in order. */
  readonly asked: readonly string[];
  readonly #server: LocalServer;
  readonly #pages: Map<string, Handler>;
  #stores = 0;

  private constructor(server: LocalServer, pages: Map<string, Handler>, asked: string[]) {
    this.#server = server;
    this.asked = asked;
    this.#pages = pages;
  }

  static async open(): Promise<HandRegistry> {
    const authority = createAuthority('Gantry hand-made registry CA');
    const pages = new Map<string, Handler>();
    const asked: string[] = [];
    const server = await startHttpsServer(authority.issue(['localhost']), (request, response) => {
      const { pathname } = new URL(request.url ?? '/', 'https://localhost');
      const path = /(manifests|blobs|referrers)\/[^/]+$/.exec(pathname)?.[0] ?? '';
      asked.push(path);
      const page = pages.get(pathname) ?? pages.get(path);
      return page === undefined ? void response.writeHead(404).end() : void page(request, response);
    });
    const registry = new HandRegistry(server, pages, asked);
    writeFileSync(registry.environment.SSL_CERT_FILE, authority.certificate);
    for (const folder of ['system', 'local']) mkdirSync(join(registry.directory, folder));
    return registry;
  }

  get environment() {
    return { SSL_CERT_FILE: join(this.directory, 'ca.pem'), HOME: this.directory };
  }

  get directories() {
    return { system: join(this.directory, 'system'), local: join(this.directory, 'local') };
  }

  /** Serves an image under `repository:1`; its blobs, and manifests by digest, in every repository. */
  serve(repository: string, { root, manifests, blobs }: OciContent): string {
    this.#pages.set(`/v2/${repository}/manifests/1`, pageOf(root));
    for (const one of manifests) this.#pages.set(`manifests/${one.digest}`, pageOf(one));
    for (const one of blobs) this.#pages.set(`blobs/${one.digest}`, pageOf(one));
    return `localhost:${this.#server.port}/${repository}:1`;
  }

  /** Serves one blob otherwise. */
  override({ digest }: Pick<OciBlob, 'digest'>, handler: Handler): void {
    this.#pages.set(`blobs/${digest}`, handler);
  }

  /** How often a blob was asked for. */
  count({ digest }: Pick<OciBlob, 'digest'>): number {
    return this.asked.filter((path) => path === `blobs/${digest}`).length;
  }

  newStore(): Store {
    return Store.open(join(this.directory, `store-${++this.#stores}`));
  }

  async fetch(
    reference: string,
    store = this.newStore(),
    changes: Partial<FetchContext> = {},
  ): Promise<{ record: ImageRecord; store: Store }> {
    const context: FetchContext = {
      directories: this.directories,
      insecure: { ...secure, image: true },
      report: this.report,
      env: this.environment,
      pace: quickPace,
      store,
      pullPolicy: 'update',
      limits: defaultUnpackLimits,
      ...changes,
    };
    return { record: await fetchImage(parseReference(reference), context), store };
  }

  async close(): Promise<void> {
    await this.#server.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function pageOf({ bytes, mediaType }: OciBlob): Handler {
  return body(bytes, { 'content-type': mediaType });
}
