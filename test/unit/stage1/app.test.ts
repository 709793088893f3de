import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { AppSpec } from '../../../src/image/app-spec.ts';
import { LayerTree } from '../../../src/isolation/layer-tree.ts';
import { type AppChoices, settleApp } from '../../../src/stage1/app.ts';
import { writeTree } from '../../support/file-tree.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

const spec: AppSpec = {
  name: 'web',
  imageId: 'sha512-00',
  imageName: 'example.com/web',
  format: 'appc',
  fillsVolumes: false,
  exec: ['/bin/web', '-v'],
  user: '0',
  group: '0',
  supplementaryGids: [],
  workingDirectory: '/',
  environment: new Map(),
  mountPoints: [],
  ports: [],
  isolators: [],
  eventHandlers: [],
  readOnlyRootfs: false,
};

function settle(
  changes: Partial<AppSpec> = {},
  files: Record<string, string> = {},
  more: Partial<AppChoices> = {},
) {
  const directory = temporaryDirectory();
  writeTree(directory, { 'bin/web': '', 'etc/hosts': '', ...files });
  chmodSync(join(directory, 'bin/web'), 0o755);
  const choices = { allCapabilities: false, allSystemCalls: false, ...more };
  const tree = new LayerTree([directory]);
  return settleApp({ ...spec, ...changes }, tree, { kind: 'copy' }, choices);
}

function environment(changes: Partial<AppSpec>): Map<string, string> {
  return new Map(settle(changes).settings.environment);
}

describe('the environment of an app', () => {
  it('has what the specification wants every app to have', () => {
    expect(Object.fromEntries(environment({}))).toEqual({
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: '/root',
      LOGNAME: 'root',
      SHELL: '/bin/sh',
      USER: 'root',
      AC_APP_NAME: 'web',
      container: 'gantry',
    });
  });

  it('is the manifest’s before the defaults, but not before who runs it', () => {
    const variables = environment({
      environment: new Map([
        ['PATH', '/opt'],
        ['HOME', '/h'],
        ['AC_APP_NAME', 'other'],
      ]),
    });
    expect(variables.get('PATH')).toBe('/opt');
    expect(variables.get('HOME')).toBe('/h');
    expect(variables.get('AC_APP_NAME')).toBe('web');
  });
});

describe('the program of an app', () => {
  it('is executed by the path it is given as', () => {
    expect(settle().settings.exec).toEqual(['/bin/web', '/bin/web', '-v']);
  });

  it('is looked for along PATH, in the image', () => {
    expect(settle({ exec: ['web', 'x'] }).settings.exec).toEqual(['/bin/web', 'web', 'x']);
  });

  it('is refused by name when PATH does not have it', () => {
    expect(() => settle({ exec: ['gone'] })).toThrow(/^app "web": unable to find "gone" in "/);
    expect(() => settle({ exec: ['hosts'], environment: new Map([['PATH', '/etc']]) })).toThrow(
      'unable to find "hosts"',
    );
  });
});

describe('what an app asks of its image', () => {
  it('is refused when the working directory is missing', () => {
    expect(() => settle({ workingDirectory: '/srv' })).toThrow(
      'app "web": the image has no directory /srv to work in',
    );
    expect(settle({ workingDirectory: '/srv' }, { 'srv/x': '' }).settings.workingDirectory).toBe(
      '/srv',
    );
  });

  it('may be a working directory that a volume brings', () => {
    const mountPoints = [{ name: 'work', path: '/work', readOnly: false }];
    expect(settle({ workingDirectory: '/work/a', mountPoints }).settings.mounts).toEqual([
      { volume: 'work', path: '/work', readOnly: false },
    ]);
  });

  it('is refused when mount points lie within each other', () => {
    const point = (name: string, path: string) => ({ name, path, readOnly: false });
    expect(() => settle({ mountPoints: [point('a', '/data/x'), point('b', '/data')] })).toThrow(
      'mount points a (/data/x) and b (/data) lie within each other',
    );
    expect(settle({ mountPoints: [point('a', '/data'), point('b', '/data2')] }).warnings).toEqual(
      [],
    );
  });

  it('is refused when a mount point is a file', () => {
    const mountPoints = [{ name: 'a', path: '/etc/hosts', readOnly: false }];
    expect(() => settle({ mountPoints })).toThrow('/etc/hosts is no directory in the image');
  });

  it('is refused when a mount point is the root, or there are more than an app has room for', () => {
    const root = [{ name: 'a', path: '//', readOnly: false }];
    expect(() => settle({ mountPoints: root })).toThrow('mount point a: / is the root');
    const many = Array.from({ length: 61 }, (_, i) => ({
      name: `v${i}`,
      path: `/v${i}`,
      readOnly: false,
    }));
    expect(() => settle({ mountPoints: many })).toThrow('it has 61 mount points and mounts');
    expect(settle({ mountPoints: many.slice(1) }).settings.mounts).toHaveLength(60);
  });

  it('is mounted where the operator gave it, one within another and over what is there', () => {
    const volumes = new Map([
      ['a', { directory: true }],
      ['f', { directory: false }],
    ]);
    const mountPoints = [
      { name: 'f', path: '/etc/hosts', readOnly: false },
      { name: 'a', path: '/etc', readOnly: false },
    ];
    const settled = settle({ mountPoints }, {}, { volumes });
    expect(settled.settings.mounts).toEqual([
      { volume: 'a', path: '/etc', readOnly: false },
      { volume: 'f', path: '/etc/hosts', readOnly: false, file: true },
    ]);
    expect(settled.warnings).toEqual([]);
  });

  it('has event handlers, found as its own program is', () => {
    const eventHandlers = [
      { name: 'pre-start' as const, exec: ['web', 'x'] },
      { name: 'post-stop' as const, exec: ['/y'] },
    ];
    expect(settle({ eventHandlers }).settings.handlers).toEqual({
      preStart: ['/bin/web', 'web', 'x'],
      postStop: ['/y', '/y'],
    });
    expect(settle().settings).not.toHaveProperty('handlers');
    const absent = [{ name: 'post-stop' as const, exec: ['absent'] }];
    expect(() => settle({ eventHandlers: absent })).toThrow(
      'app "web": unable to find "absent" in',
    );
  });

  it('does not get limits that nobody has looked at the host for', () => {
    const isolators = [{ name: 'os/linux/apparmor-profile', value: { profile: 'p' } }];
    expect(() => settle({ isolators })).toThrow('app "web": the host was not looked at');
  });

  it('comes with a warning for isolators that are not enforced', () => {
    const isolators = [{ name: 'resource/block-iops', value: { default: true, limit: '1' } }];
    expect(settle({ isolators }).warnings).toEqual([
      'app "web": isolator resource/block-iops is not enforced',
    ]);
  });

  it('comes with a warning for files a volume hides', () => {
    const mountPoints = [{ name: 'conf', path: '/etc', readOnly: false }];
    expect(settle({ mountPoints }).warnings).toEqual([
      'app "web": volume conf hides what the image has at /etc',
    ]);
  });

  it('is completed by the files about names it lacks', () => {
    expect(settle().settings.missing).toEqual(['hostname', 'mtab']);
  });
});

describe('an app of an OCI image', () => {
  const oci = { format: 'oci', fillsVolumes: true } as const;
  const point = (name: string, path: string) => ({ name, path, readOnly: false });

  it('gets a working directory that its image lacks', () => {
    const missing = settle({ ...oci, workingDirectory: '/srv/app' }).settings;
    expect(missing.makesWorkingDirectory).toBe(true);
    const there = settle({ ...oci, workingDirectory: '/srv/app' }, { 'srv/app/x': '' }).settings;
    expect(there).not.toHaveProperty('makesWorkingDirectory');
    expect(settle({ ...oci, workingDirectory: '/proc/x' }).settings).not.toHaveProperty(
      'makesWorkingDirectory',
    );
  });

  it('gets one in a volume too, which begins without', () => {
    const mountPoints = [point('v', '/data')];
    expect(
      settle({ ...oci, mountPoints, workingDirectory: '/data/a' }).settings.makesWorkingDirectory,
    ).toBe(true);
  });

  it('is refused when something else is where it is to work', () => {
    expect(() => settle({ ...oci, workingDirectory: '/etc/hosts' })).toThrow(
      '/etc/hosts of the image is no directory to work in',
    );
  });

  it('mounts the outer of two volumes first, and one that is named twice once', () => {
    const mountPoints = [
      point('logs', '/data/logs/'),
      point('other', '/other'),
      point('data', '/data'),
      point('again', '/data/'),
    ];
    expect(settle({ ...oci, mountPoints }).settings.mounts).toEqual([
      { volume: 'other', path: '/other', readOnly: false },
      { volume: 'data', path: '/data', readOnly: false },
      { volume: 'logs', path: '/data/logs', readOnly: false },
    ]);
  });

  it('hides nothing by its volumes, which begin with what the image has', () => {
    expect(settle({ ...oci, mountPoints: [point('conf', '/etc')] }).warnings).toEqual([]);
  });

  it('ends by the signal its image names', () => {
    expect(settle({ ...oci, stopSignal: 'SIGQUIT' }).settings.stopSignal).toBe(3);
    expect(settle(oci).settings).not.toHaveProperty('stopSignal');
    expect(() => settle({ ...oci, stopSignal: 'SIGNOPE' })).toThrow(
      'app "web": the image\'s stop signal "SIGNOPE" is no signal of Linux',
    );
  });
});

describe('an agent of the host', () => {
  it('keeps every capability that nobody takes away, and may make user namespaces', () => {
    const all = settle({}, {}, { privileged: true }).settings;
    expect(all.capabilities).toContain('CAP_SYS_ADMIN');
    const remove = {
      name: 'os/linux/capabilities-remove-set',
      value: { set: ['CAP_SYS_ADMIN'] },
    };
    const { capabilities, userNamespaces } = settle(
      { isolators: [remove] },
      {},
      { privileged: true },
    ).settings;
    expect(capabilities).toEqual(all.capabilities.filter((name) => name !== 'CAP_SYS_ADMIN'));
    expect(userNamespaces).toBe(true);
  });
});
