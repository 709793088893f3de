import { loadRegistries } from '../config/registries.ts';
import type { Digest } from '../image/digest.ts';
import type { LayoutReference, RegistryReference } from '../image/reference.ts';
import { repositoryName } from '../image/repository.ts';
import { DirectoryFiles } from './content-files.ts';
import type { TransportContext } from './context.ts';
import { LayoutDestination } from './layout-destination.ts';
import { LayoutSource } from './layout-source.ts';
import type { OciDestination, OciSource } from './oci-source.ts';
import { openRegistryDestination } from './registry-destination.ts';
import { placesOf } from './registry-place.ts';
import { RegistryReader } from './registry-reader.ts';
import { RegistrySession } from './registry-session.ts';
import { RegistrySource } from './registry-source.ts';
import { Transport } from './transport.ts';

/** Where an image lies that is to be signed, and where its signatures go. */
export interface SigningPlace {
  /** The place itself and no mirror: what is appended to must be what is there. */
  readonly source: OciSource;
  readonly image: string | Digest;
  /** What the image is called there, with its tag where it has one; undefined where nothing says. */
  readonly name: string | undefined;
  /** The signature store of simple signing (`registries.d`), where there is one. */
  readonly lookaside: URL | undefined;
  openDestination(): Promise<OciDestination>;
  close(): Promise<void>;
}

/**
 * Opens the place where an image is published, for its signatures to be put beside it.
 *
 * @throws GantryError `config`, `not-found`, `invalid-manifest`
 */
export async function openSigningPlace(
  reference: RegistryReference | LayoutReference,
  context: TransportContext,
): Promise<SigningPlace> {
  return reference.kind === 'registry'
    ? openRepository(reference, context)
    : await openLayout(reference);
}

function openRepository(
  { repository, tag, digest }: RegistryReference,
  context: TransportContext,
): SigningPlace {
  const rules = loadRegistries(context.directories);
  const name = repositoryName(repository);
  const { own } = placesOf(repository, rules);
  const transport = new Transport(context);
  const session = new RegistrySession(own, 'pull', rules, context, transport);
  const reader = new RegistryReader(session, context.report);
  return {
    source: new RegistrySource(`docker://${name}`, reader, [], context.report),
    image: digest ?? tag ?? 'latest',
    name: tag === undefined ? name : `${name}:${tag}`,
    lookaside: rules.find(name, 'lookaside')?.value,
    openDestination: () => openRegistryDestination(repository, context, transport),
    close: () => transport.close(),
  };
}

async function openLayout({ path, ref }: LayoutReference): Promise<SigningPlace> {
  const source = await LayoutSource.open(new DirectoryFiles(path));
  try {
    const { descriptor, name, ref: called } = await source.image(ref);
    return {
      source,
      image: descriptor.digest,
      name: name ?? wholeReference(called),
      lookaside: undefined,
      openDestination: async () => LayoutDestination.open(path),
      close: () => source.close(),
    };
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** What an image is called, where that is more than a tag: no tag holds either character. */
function wholeReference(called: string | undefined): string | undefined {
  return called !== undefined && /[/:]/.test(called) ? called : undefined;
}
