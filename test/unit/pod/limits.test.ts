import { describe, expect, it } from 'vitest';
import type { Isolator } from '../../../src/image/isolator.ts';
import type { GroupHost } from '../../../src/isolation/control-groups.ts';
import { cpuIsolator, memoryIsolator, readLimits } from '../../../src/isolation/limits.ts';
import { settleLimits } from '../../../src/pod/limits.ts';
import type { NamedApp } from '../../../src/pod/manifest.ts';
import type { Feature } from '../../../src/stage1/features.ts';
import type { PodSettings } from '../../../src/stage1/settings.ts';

/** A host that has one hierarchy, for memory. */
const HOST: GroupHost = {
  hierarchies: [{ version: 1, controllers: ['memory'], top: '/m', own: '/m' }],
  read: () => undefined,
  writable: () => true,
  filesBelow: () => [],
};

/** Settles a pod of one app: what its image asks for, what the operator does. */
function settle(
  image: readonly Isolator[],
  asked: readonly Isolator[] = [],
  { features = ['limits'], pod = [] }: { features?: Feature[]; pod?: Isolator[] } = {},
) {
  const warnings: string[] = [];
  const isolators = [...image, ...asked];
  const settings = {
    uuid: 'U',
    apps: [{ name: 'web', limits: readLimits(isolators) }],
  } as unknown as PodSettings;
  const app = { section: { isolators }, request: { isolators: asked } } as unknown as NamedApp;
  const settled = settleLimits(settings, {
    request: { isolators: pod, runsNow: true },
    apps: [app],
    flavour: { name: 'native', features: new Set(features) },
    report: { warn: (line) => warnings.push(line) },
    host: HOST,
  });
  return {
    limits: settled.apps[0]?.limits,
    groups: settled.groups,
    shares: settled.shares,
    warnings,
  };
}

describe('the limits of a pod', () => {
  it('are those of image and operator where the host has what enforces them', () => {
    expect(settle([memoryIsolator('1M')])).toEqual({
      limits: { memory: { limit: '1000000', request: '1000000' } },
      groups: [{ version: 1, controllers: ['memory'], directory: '/m/gantry-U' }],
      shares: undefined,
      warnings: [],
    });
  });

  it('make a share of the host of what the operator asks for, and of nothing else', () => {
    expect(settle([], [memoryIsolator('1M')]).shares).toEqual({ memory: { request: '1000000' } });
  });

  it('come with a warning where only the image asks and the host has nothing', () => {
    const { limits, groups, warnings } = settle([cpuIsolator('1')]);
    expect({ limits, groups }).toEqual({ limits: undefined, groups: undefined });
    expect(warnings).toEqual([
      'app "web": isolator resource/cpu is not enforced: this host has no control groups with cpu that can be set (cgroups(7))',
    ]);
  });

  it('are refused where the operator asks and the host has nothing', () => {
    expect(() => settle([], [cpuIsolator('1')])).toThrow(
      'app "web": --cpu cannot be enforced: this host has no control groups with cpu that can be set (cgroups(7)): leave it out, or start the pod elsewhere',
    );
  });

  it('are refused where those of the whole pod cannot be enforced', () => {
    expect(() => settle([], [], { pod: [cpuIsolator('1')] })).toThrow(
      'pod: --cpu cannot be enforced',
    );
  });

  it('come with a warning where the stage1 has none', () => {
    const { limits, warnings } = settle([memoryIsolator('1M')], [], { features: [] });
    expect(limits).toBeUndefined();
    expect(warnings).toEqual([
      'app "web": isolator resource/memory is not enforced: stage1 native has no limits',
    ]);
  });
});
