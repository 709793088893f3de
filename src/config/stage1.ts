import type { Field } from '../image/document.ts';
import { readIdentifier } from '../image/label.ts';
import { quote } from '../image/quotation.ts';
import { type Directories, inOrder } from './directories.ts';
import { Origins, readConfigFiles } from './file.ts';

/** The `stage1` configuration: the stage1 used where no flag names one. */
export interface Stage1Settings {
  /** Image name; given exactly where `version` is. */
  name?: string;
  version?: string;
  /** Absolute path, or a file, http, https or docker URL. */
  location?: string;
}

const schemes = ['docker:', 'file:', 'http:', 'https:'];

/**
 * Reads `stage1.d`; name and version are overridden together, the location by itself.
 * @throws GantryError `config`
 */
export function loadStage1(directories: Directories): Stage1Settings {
  const settings: Stage1Settings = {};
  for (const directory of inOrder(directories)) {
    const origins = new Origins();
    for (const file of readConfigFiles(directory, 'stage1.d', ['stage1'])) {
      const image = readImage(file.root);
      const location = readLocation(file.root.member('location'));
      if (image !== undefined) {
        origins.claim('name', 'the name and version of the stage1 image', file);
        Object.assign(settings, image);
      }
      if (location !== undefined) {
        origins.claim('location', 'the location of the stage1 image', file);
        settings.location = location;
      }
    }
  }
  return settings;
}

function readImage(root: Field): { name: string; version: string } | undefined {
  const name = readFilled(root.member('name'));
  const version = readFilled(root.member('version'));
  if (name === undefined && version === undefined) return undefined;
  if (version === undefined) throw root.member('version').refuse('is required beside name');
  if (name === undefined) throw root.member('name').refuse('is required beside version');
  return { name: readIdentifier(root.member('name')), version };
}

function readLocation(field: Field): string | undefined {
  const location = readFilled(field);
  if (location === undefined || location.startsWith('/')) return location;
  if (!URL.canParse(location) || !schemes.includes(new URL(location).protocol)) {
    throw field.refuse(
      `must be an absolute path or a docker, file, http or https URL, not ${quote(location)}`,
    );
  }
  return location;
}

function readFilled(field: Field): string | undefined {
  return field.optional((given) => given.string()) || undefined;
}
