import { type App, readApp } from './app.ts';
import { isReferredImageId } from './digest.ts';
import { type DocumentKind, type Field, parseDocument } from './document.ts';
import {
  type Annotation,
  type Label,
  readAnnotations,
  readIdentifier,
  readLabels,
} from './label.ts';
import { quote } from './quotation.ts';

export type { App, EnvironmentVariable, EventHandler, MountPoint, Port } from './app.ts';
export type { Isolator } from './isolator.ts';
export type { Annotation, Label } from './label.ts';

/** What an App Container image says of itself (appc spec/aci.md, "Image Manifest Schema"). */
export interface ImageManifest {
  acKind: 'ImageManifest';
  acVersion: string;
  name: string;
  labels: Label[];
  /** Absent in images that only serve as dependencies. */
  app?: App;
  /** In the order they are laid down; the image itself comes last. */
  dependencies: Dependency[];
  /** Absolute; empty means every path. */
  pathWhitelist: string[];
  annotations: Annotation[];
}

/** An image whose files lie beneath this one's. */
export interface Dependency {
  imageName: string;
  /** Whole or shortened: compare with `matchesImageId`. */
  imageId?: string;
  labels: Label[];
  /** Of the archive as fetched, in bytes. */
  size?: number;
}

const kind: DocumentKind = { what: 'image manifest', code: 'invalid-manifest' };

/**
 * Validates the `manifest` file of an image, field by field.
 * @throws GantryError `invalid-manifest`, naming the field: `image manifest: app.exec[0]: …`
 */
export function parseImageManifest(bytes: Uint8Array): ImageManifest {
  const root = parseDocument(bytes, kind);
  readKind(root, 'ImageManifest');
  const app = root.member('app').optional(readApp);
  return {
    acKind: 'ImageManifest',
    acVersion: readVersion(root.member('acVersion')),
    name: readIdentifier(root.member('name')),
    labels: readLabels(root.member('labels')),
    ...(app === undefined ? {} : { app }),
    dependencies: root.member('dependencies').list().map(readDependency),
    pathWhitelist: root
      .member('pathWhitelist')
      .list()
      .map((item) => item.absolutePath()),
    annotations: readAnnotations(root.member('annotations')),
  };
}

/** The value of an image's label, such as `version`, `os` or `arch`. */
export function labelOf(manifest: Pick<ImageManifest, 'labels'>, name: string): string | undefined {
  return manifest.labels.find((label) => label.name === name)?.value;
}

/** `acKind`: the first thing that tells whether this is the right file at all. */
export function readKind(root: Field, wanted: string): void {
  const field = root.member('acKind');
  const found = field.string();
  if (found !== wanted) throw field.refuse(`must be ${wanted}, not ${quote(found)}`);
}

// semver.org, version 2.0.0, item 2, 9 and 10.
const semver =
  /^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})(-(0|[1-9]\d*|\d*[A-Za-z-][-0-9A-Za-z]*)(\.(0|[1-9]\d*|\d*[A-Za-z-][-0-9A-Za-z]*))*)?(\+[-0-9A-Za-z]+(\.[-0-9A-Za-z]+)*)?$/;

/** `acVersion`: semantic, not zero, and of the major series this reads (appc spec/types.md). */
export function readVersion(field: Field): string {
  const version = field.filledString();
  const [, major, minor, patch] = (version.length <= 128 && semver.exec(version)) || [];
  if (major === undefined) throw field.refuse(`${quote(version)} is not a semantic version`);
  if (major !== '0') {
    throw field.refuse(`${quote(version)} is too new: Gantry reads appc 0.x`);
  }
  if (minor === '0' && patch === '0') throw field.refuse('must not be zero');
  return version;
}

/** An image ID as a manifest may refer to one. */
export function readImageId(field: Field): string {
  const id = field.string();
  if (!isReferredImageId(id)) {
    throw field.refuse('must be sha512- and 64 to 128, or sha256- and 64 lower-case hex digits');
  }
  return id;
}

function readDependency(item: Field): Dependency {
  const imageId = item.member('imageID').optional(readImageId);
  const size = item.member('size').optional((field) => field.integer(0, Number.MAX_SAFE_INTEGER));
  return {
    imageName: readIdentifier(item.member('imageName')),
    ...(imageId === undefined ? {} : { imageId }),
    labels: readLabels(item.member('labels')),
    // A size of 0 is what packers write for an unknown one.
    ...(size ? { size } : {}),
  };
}
