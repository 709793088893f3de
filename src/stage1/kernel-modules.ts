import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';

/**
 * The files of the modules a kernel needs for `wanted`, each after those it depends upon; what is built into the
 * kernel is left out.
 * @param directory absolute, as depmod(8) leaves it: `/lib/modules/6.1.0-13-amd64`
 * @param wanted names with underscores: `virtio_pci`
 * @returns absolute paths
 * @throws GantryError `unsupported` where the directory cannot be read or the kernel lacks one of them
 */
export function modulesFor(directory: string, wanted: readonly string[]): string[] {
  const { builtin, dependencies } = readModules(directory);
  const files = new Set<string>();
  for (const name of wanted) {
    if (builtin.has(name)) continue;
    const module = dependencies.get(name);
    if (module === undefined) {
      throw new GantryError(
        'unsupported',
        `stage1 kvm: the kernel of ${directory} has no module ${name}: choose another in kvm.d (a cloud kernel may lack it), or install virtiofsd if it is 9p's`,
      );
    }
    for (const file of module) files.add(resolve(directory, file));
  }
  return [...files];
}

/**
 * Whether a kernel has a module, built in or not.
 * @throws GantryError `unsupported` where the directory cannot be read
 */
export function hasModule(directory: string, name: string): boolean {
  const { builtin, dependencies } = readModules(directory);
  return builtin.has(name) || dependencies.has(name);
}

function readModules(directory: string) {
  return {
    builtin: new Set(readLines(directory, 'modules.builtin').map(moduleName)),
    dependencies: parseDependencies(readLines(directory, 'modules.dep')),
  };
}

/** From the lines `FILE: FILE…` of modules.dep, by module name: the files to load, in that order. */
function parseDependencies(lines: readonly string[]): Map<string, string[]> {
  return new Map(
    lines.map((line) => {
      const [file = '', rest = ''] = line.split(':');
      // What is needed first stands last (modules.dep(5), as modprobe reads it).
      const needed = rest.split(' ').filter(Boolean).reverse();
      return [moduleName(file), [...needed, file]];
    }),
  );
}

/** `kernel/fs/9p/9p.ko.xz` is called `9p`; hyphens and underscores are the same. */
function moduleName(file: string): string {
  const base = file.slice(file.lastIndexOf('/') + 1);
  return base.replace(/\.ko(\.\w+)?$/, '').replaceAll('-', '_');
}

function readLines(directory: string, name: string): string[] {
  try {
    return readFileSync(`${directory}/${name}`, 'utf8').split('\n').filter(Boolean);
  } catch (cause) {
    throw new GantryError(
      'unsupported',
      `stage1 kvm: no kernel modules in ${directory}: ${name}: ${errnoOf(cause) ?? 'cannot be read'}`,
      { cause },
    );
  }
}
