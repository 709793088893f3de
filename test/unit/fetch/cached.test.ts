import { join } from 'node:path';
import { build, type Metafile } from 'esbuild';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../../..');

/** Every source that is loaded when a module is, and not only when something in it is called. */
async function loadedWith(entry: string): Promise<string[]> {
  const { metafile } = await build({
    entryPoints: [join(root, entry)],
    absWorkingDir: root,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    outdir: 'dist',
    write: false,
    metafile: true,
  });
  return inputsOf(metafile, entry);
}

function inputsOf(metafile: Metafile, path: string, seen = new Set<string>()): string[] {
  if (seen.has(path)) return [];
  seen.add(path);
  for (const { path: imported, kind, external } of metafile.inputs[path]?.imports ?? []) {
    if (kind !== 'dynamic-import' && external !== true) inputsOf(metafile, imported, seen);
  }
  return [...seen];
}

describe('looking for a stored image', () => {
  it('loads no package and nothing that fetches', async () => {
    const loaded = await loadedWith('src/fetch/cached.ts');
    expect(loaded).toContain('src/image/image-manifest.ts');
    expect(loaded.filter((path) => path.includes('node_modules'))).toEqual([]);
    expect(loaded.filter((path) => path.startsWith('src/fetch/')).sort()).toEqual([
      'src/fetch/cached.ts',
      'src/fetch/location.ts',
    ]);
  });

  it('and fetching from what is stored or lies in a file load no HTTP client either', async () => {
    const loaded = await loadedWith('src/fetch/fetch.ts');
    expect(loaded.filter((path) => path.includes('node_modules'))).toEqual([]);
  });
});
