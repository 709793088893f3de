import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isMisspelt, shippedName } from '../../../src/stage1/shipped.ts';

describe('the name of a shipped flavour', () => {
  it.each([
    ['chroot', 'chroot'],
    ['gantry/chroot', 'chroot'],
    ['fly', 'chroot'],
    ['kvm:0.1.0', 'kvm'],
    ['coreos.com/rkt/stage1-fly:1.30.0', 'chroot'],
    ['coreos.com/rkt/stage1-coreos', 'native'],
    ['coreos.com/rkt/stage1', undefined],
    ['example.com/native', undefined],
    ['gantry/fly', undefined],
    ['toString', undefined],
    ['', undefined],
  ])('is found in %j: %s', (name, flavour) => {
    expect(shippedName(name)).toBe(flavour);
  });
});

describe('a name that can only be meant for a shipped flavour', () => {
  it.each([
    ['nspwan', true],
    ['gantry/fly', true],
    ['example.com/native', false],
    ['localhost/gantry/native', false],
  ])('%j: %s', (name, misspelt) => {
    expect(isMisspelt(name)).toBe(misspelt);
  });
});

describe('the table of flavours in README.md', () => {
  it('is the one in the code', () => {
    const script = join(import.meta.dirname, '../../../.ci/flavour-table.mjs');
    const { status, stderr } = spawnSync(process.execPath, [script, '--check'], {
      encoding: 'utf8',
    });
    expect([status, stderr]).toEqual([0, '']);
  });
});
