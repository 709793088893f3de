import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hasModule, modulesFor } from '../../../src/stage1/kernel-modules.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

/** A directory as depmod leaves it. */
function modules(dependencies: readonly string[], builtin: readonly string[] = []): string {
  const directory = join(temporaryDirectory(), 'modules');
  mkdirSync(directory);
  writeFileSync(join(directory, 'modules.dep'), dependencies.map((line) => `${line}\n`).join(''));
  writeFileSync(join(directory, 'modules.builtin'), builtin.map((line) => `${line}\n`).join(''));
  return directory;
}

describe('the modules of a kernel', () => {
  it('come after those they depend upon, each once', () => {
    const directory = modules([
      'fs/9p/9p.ko: net/9p/9pnet.ko fs/netfs/netfs.ko',
      'net/9p/9pnet_virtio.ko: net/9p/9pnet.ko virtio/virtio_ring.ko virtio/virtio.ko',
      'net/9p/9pnet.ko:',
    ]);
    const files = modulesFor(directory, ['9pnet_virtio', '9p']);
    expect(files.map((file) => file.slice(directory.length + 1))).toEqual([
      'virtio/virtio.ko',
      'virtio/virtio_ring.ko',
      'net/9p/9pnet.ko',
      'net/9p/9pnet_virtio.ko',
      'fs/netfs/netfs.ko',
      'fs/9p/9p.ko',
    ]);
  });

  it('are there as files or built in', () => {
    const directory = modules(['fs/fuse/virtiofs.ko: fs/fuse/fuse.ko'], ['kernel/fs/9p/9p.ko']);
    expect(['virtiofs', '9p', 'fuse'].map((name) => hasModule(directory, name))).toEqual([
      true,
      true,
      false,
    ]);
  });

  it('are found by names with hyphens and when they are compressed, and left out when built in', () => {
    const directory = modules(['drivers/virtio-pci.ko.zst:'], ['kernel/fs/9p/9p.ko']);
    expect(modulesFor(directory, ['virtio_pci', '9p'])).toEqual([
      join(directory, 'drivers/virtio-pci.ko.zst'),
    ]);
  });

  it('are refused by name where the kernel lacks one, or nobody ran depmod', () => {
    expect(() => modulesFor(modules([]), ['9p'])).toThrow(/has no module 9p: /);
    expect(() => modulesFor('/nonexistent', ['9p'])).toThrow(/no kernel modules in \/nonexistent/);
  });
});
