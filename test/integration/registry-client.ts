import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { secure } from '../../src/config/insecure.ts';
import type { TransportContext } from '../../src/fetch/context.ts';
import type { OciDestination, OciSource } from '../../src/fetch/oci-source.ts';
import { openRegistryDestination } from '../../src/fetch/registry-destination.ts';
import { type OpenRegistry, openRegistry } from '../../src/fetch/registry-source.ts';
import { Transport } from '../../src/fetch/transport.ts';
import { parseDigest } from '../../src/image/digest.ts';
import type { Descriptor } from '../../src/image/oci-manifest.ts';
import { parseRepository } from '../../src/image/repository.ts';
import type { OciBlob } from '../support/oci-image.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { quickPace, RecordedReport } from './fetch-world.ts';

/** Gantry's side of a registry, with a configuration of its own that goes with the test. */
export class RegistryClient {
  readonly directory = temporaryDirectory();
  readonly report = new RecordedReport();
  readonly #ca: string;
  #files = 0;

  constructor(ca: string) {
    this.#ca = ca;
  }

  /** Writes a file of `registries.d` or `auth.d`. */
  configure(kind: 'registries' | 'auth' | 'dockerAuth', fields: object): void {
    const folder = join(this.directory, 'local', kind === 'registries' ? 'registries.d' : 'auth.d');
    mkdirSync(folder, { recursive: true });
    const content = { rktKind: kind, rktVersion: 'v1', ...fields };
    const path = join(folder, `${this.#files++}.json`);
    writeFileSync(path, JSON.stringify(content), { mode: 0o600 });
  }

  context(changes: Partial<TransportContext> = {}): TransportContext {
    return {
      directories: {
        system: join(this.directory, 'system'),
        local: join(this.directory, 'local'),
      },
      insecure: secure,
      report: this.report,
      env: { SSL_CERT_FILE: this.#ca },
      pace: quickPace,
      ...changes,
    };
  }

  /** Opens a repository for as long as it is used. */
  async read<Answer>(
    name: string,
    use: (source: OciSource, registry: OpenRegistry) => Promise<Answer>,
    changes: Partial<TransportContext> = {},
  ): Promise<Answer> {
    return await this.#with(changes, async (context, transport) => {
      const registry = await openRegistry(parseRepository(name), context, transport);
      return await use(registry.source, registry);
    });
  }

  /** Opens a repository to write to. */
  async write<Answer>(
    name: string,
    use: (destination: OciDestination) => Promise<Answer>,
    changes: Partial<TransportContext> = {},
  ): Promise<Answer> {
    return await this.#with(changes, async (context, transport) =>
      use(await openRegistryDestination(parseRepository(name), context, transport)),
    );
  }

  async #with<Answer>(
    changes: Partial<TransportContext>,
    use: (context: TransportContext, transport: Transport) => Promise<Answer>,
  ): Promise<Answer> {
    const context = this.context(changes);
    const transport = new Transport(context);
    try {
      return await use(context, transport);
    } finally {
      await transport.close();
    }
  }
}

/** A blob's descriptor as Gantry has it. */
export function descriptorOf({ mediaType, digest, size }: Omit<OciBlob, 'bytes'>): Descriptor {
  return { mediaType, digest: parseDigest(digest), size };
}

/** Takes a download, and keeps it. */
export class Collected {
  #pieces: Buffer[] = [];
  restarts = 0;

  write(piece: Buffer): void {
    this.#pieces.push(Buffer.from(piece));
  }

  async restart(): Promise<void> {
    this.#pieces = [];
    this.restarts++;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#pieces);
  }

  get digest(): string {
    return `sha256:${createHash('sha256').update(this.bytes).digest('hex')}`;
  }
}

/** One piece of content. */
export async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
