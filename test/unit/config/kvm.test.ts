import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadKvm } from '../../../src/config/kvm.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

/** Configuration directories with these files in `kvm.d`. */
function configured(files: Readonly<Record<string, object>>) {
  const root = temporaryDirectory();
  for (const [name, fields] of Object.entries(files)) {
    const [directory = '', file = ''] = name.split('/');
    mkdirSync(join(root, directory, 'kvm.d'), { recursive: true });
    const content = { rktKind: 'kvm', rktVersion: 'v1', ...fields };
    writeFileSync(join(root, directory, 'kvm.d', file), JSON.stringify(content));
  }
  return { system: join(root, 'system'), local: join(root, 'local') };
}

describe('the configuration of machines', () => {
  it('has defaults', () => {
    expect(loadKvm(configured({}))).toEqual({
      memoryMiB: 256,
      cpus: 1,
      acceleration: 'auto',
      share: 'auto',
    });
  });

  it('is overridden field by field, but for a kernel, whose modules go with it', () => {
    const system = { kernel: '/boot/a', modules: '/lib/modules/a', cpus: 2, share: '9p' };
    const settings = loadKvm(
      configured({ 'system/a.json': system, 'local/a.json': { kernel: '/boot/b', memoryMiB: 64 } }),
    );
    expect(settings).toEqual({
      kernel: '/boot/b',
      memoryMiB: 64,
      cpus: 2,
      acceleration: 'auto',
      share: '9p',
    });
  });

  it.each([
    [{ kernel: 'vmlinuz' }, /kernel: must be an absolute path/],
    [{ modules: '/lib/modules/a' }, /kernel: is required beside modules/],
    [{ memoryMiB: 63 }, /memoryMiB/],
    [{ cpus: 0 }, /cpus/],
    [{ acceleration: 'hvf' }, /acceleration: must be one of auto, kvm, tcg/],
    [{ share: 'nfs' }, /share: must be one of auto, virtiofs, 9p/],
  ])('refuses %j', (fields, message) => {
    expect(() => loadKvm(configured({ 'local/a.json': fields }))).toThrow(message);
  });

  it('refuses to be told the same by two files', () => {
    const files = { 'local/a.json': { cpus: 1 }, 'local/b.json': { cpus: 2 } };
    expect(() => loadKvm(configured(files))).toThrow(/already specified in/);
  });
});
