import { type Directories, inOrder } from './directories.ts';
import { Origins, readConfigFiles } from './file.ts';

/** The `paths` configuration: absolute directories, absent where none is configured. */
export interface PathSettings {
  /** Where images and pods are kept; `--dir` overrides it. */
  data?: string;
  /** Where `--stage1-from-dir` looks. */
  stage1Images?: string;
}

/**
 * Reads `paths.d`; each path is overridden by itself.
 * @throws GantryError `config`
 */
export function loadPaths(directories: Directories): PathSettings {
  const settings: PathSettings = {};
  for (const directory of inOrder(directories)) {
    const origins = new Origins();
    for (const file of readConfigFiles(directory, 'paths.d', ['paths'])) {
      const data = file.root.member('data');
      const stage1Images = file.root.member('stage1-images');
      // An ordinary user has no data where the machine's are.
      const counts = directories.own === undefined || directory === directories.own;
      if (counts && data.given && data.value !== '') {
        origins.claim('data', 'the data directory', file);
        settings.data = data.absolutePath();
      }
      if (stage1Images.given && stage1Images.value !== '') {
        origins.claim('stage1-images', 'the stage1 images directory', file);
        settings.stage1Images = stage1Images.absolutePath();
      }
    }
  }
  return settings;
}
