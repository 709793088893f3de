import { loadRegistries } from '../config/registries.ts';
import { GantryError } from '../error.ts';
import { type Digest, formatDigest } from '../image/digest.ts';
import type { Descriptor } from '../image/oci-manifest.ts';
import { type Repository, repositoryName } from '../image/repository.ts';
import type { SignedIdentityPolicy } from '../trust/manifest-signature.ts';
import type { TransportContext } from './context.ts';
import type { DownloadTarget } from './download.ts';
import type { FoundManifest, OciSource } from './oci-source.ts';
import { placesOf } from './registry-place.ts';
import { RegistryReader } from './registry-reader.ts';
import { RegistrySession } from './registry-session.ts';
import type { Reporter } from './reporter.ts';
import type { Getter, Transport } from './transport.ts';

/** A repository, and what the configuration says of the signatures in it. */
export interface OpenRegistry {
  readonly source: OciSource;
  /** How far a signature's own reference must be the one asked for. */
  readonly signedIdentity: SignedIdentityPolicy;
  /** Where simple-signing signatures lie, where there is such a place. */
  readonly lookaside?: URL | undefined;
  /** How a lookaside store that is a web server is asked. */
  readonly getter: Getter;
}

/** A mirror that does not answer is not worth a minute: the registry itself comes after it. */
const mirrorAttempts = 2;

/**
 * Makes a repository ready to be read; nothing is asked of it yet. The transport stays the caller's to
 * close.
 *
 * @throws GantryError `config`
 */
export async function openRegistry(
  repository: Repository,
  context: TransportContext,
  transport: Transport,
): Promise<OpenRegistry> {
  const rules = loadRegistries(context.directories);
  const name = repositoryName(repository);
  const { own, mirrors } = placesOf(repository, rules);
  const reader = (place: typeof own, attempts?: number) => {
    const pace = attempts === undefined ? {} : { attempts };
    const session = new RegistrySession(place, 'pull', rules, context, transport, pace);
    return new RegistryReader(session, context.report);
  };
  const source = new RegistrySource(
    `docker://${name}`,
    reader(own),
    mirrors.map((mirror) => reader(mirror, mirrorAttempts)),
    context.report,
  );
  return {
    source,
    signedIdentity: rules.find(name, 'signedIdentity')?.value ?? 'tag',
    lookaside: rules.find(name, 'lookaside')?.value,
    getter: transport,
  };
}

/**
 * A repository as one source: its mirrors are asked first, in their order, and the registry itself where
 * they have no answer. What a mirror says is no more believed than what a registry says: the digest
 * decides.
 */
export class RegistrySource implements OciSource {
  readonly shown: string;
  readonly #own: RegistryReader;
  readonly #mirrors: readonly RegistryReader[];
  readonly #report: Reporter;
  /** Mirrors that failed once are not asked again. */
  readonly #failed = new Set<RegistryReader>();

  constructor(
    shown: string,
    own: RegistryReader,
    mirrors: readonly RegistryReader[],
    report: Reporter,
  ) {
    this.shown = shown;
    this.#own = own;
    this.#mirrors = mirrors;
    this.#report = report;
  }

  async manifest(reference: string | Digest): Promise<FoundManifest | undefined> {
    const ask = (reader: RegistryReader) => reader.manifest(reference);
    return (await this.#fromMirror(ask)) ?? (await ask(this.#own));
  }

  async blob(descriptor: Descriptor, target: DownloadTarget): Promise<void> {
    const begun = new BegunTarget(target);
    const ask = async (reader: RegistryReader) => {
      await begun.restartIfBegun();
      await reader.blob(descriptor, begun);
      return true;
    };
    if ((await this.#fromMirror(ask)) === undefined) await ask(this.#own);
  }

  async document(descriptor: Descriptor, limit: number): Promise<Uint8Array> {
    if (descriptor.size > limit) {
      throw new GantryError(
        'invalid-archive',
        `${this.shown}: the blob ${formatDigest(descriptor.digest)} has ${descriptor.size} bytes, and only ${limit} are taken`,
      );
    }
    const ask = (reader: RegistryReader) => reader.document(descriptor);
    return (await this.#fromMirror(ask)) ?? (await ask(this.#own));
  }

  async referrers(digest: Digest): Promise<Descriptor[]> {
    // A mirror that has the image need not have what was put beside it later.
    const found = await this.#fromMirror(async (reader) => {
      const listed = await reader.referrers(digest);
      return listed.length === 0 ? undefined : listed;
    });
    return found ?? (await this.#own.referrers(digest));
  }

  async close(): Promise<void> {
    // The connections are the transport's.
  }

  async #fromMirror<Answer>(
    ask: (mirror: RegistryReader) => Promise<Answer | undefined>,
  ): Promise<Answer | undefined> {
    for (const mirror of this.#mirrors) {
      if (this.#failed.has(mirror)) continue;
      try {
        const answer = await ask(mirror);
        if (answer !== undefined) return answer;
        this.#report.debug(`image: the mirror ${mirror.shown} does not have it`);
      } catch (error) {
        if (!(error instanceof GantryError) || !isOfMirror(error)) throw error;
        this.#failed.add(mirror);
        this.#report.warn(`${error.message}: passing over this mirror`);
      }
    }
    return undefined;
  }
}

/** Whether the server is to blame, and another may do better. */
function isOfMirror({ code }: GantryError): boolean {
  return code === 'network' || code === 'invalid-archive' || code === 'invalid-manifest';
}

/** Knows whether anything was written, so that another server can begin again. */
class BegunTarget implements DownloadTarget {
  readonly #target: DownloadTarget;
  #begun = false;

  constructor(target: DownloadTarget) {
    this.#target = target;
  }

  write(chunk: Buffer): void | Promise<void> {
    this.#begun = true;
    return this.#target.write(chunk);
  }

  async restart(): Promise<void> {
    this.#begun = false;
    await this.#target.restart();
  }

  async restartIfBegun(): Promise<void> {
    if (this.#begun) await this.restart();
  }
}
