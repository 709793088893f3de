import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { secure } from '../../../src/config/insecure.ts';
import type { Annotation, App, MountPoint } from '../../../src/image/image-manifest.ts';
import type { ImageRecord } from '../../../src/image/image-record.ts';
import type { EmptyVolume, Mount, Volume } from '../../../src/image/pod-manifest.ts';
import type { PodRequest } from '../../../src/pod/request.ts';
import { podVolumes, withAppVolumes } from '../../../src/pod/volumes.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

const EMPTY: EmptyVolume = {
  name: 'data',
  kind: 'empty',
  readOnly: false,
  mode: '0700',
  uid: 7,
  gid: 8,
};

function request(mounts: readonly (readonly Mount[])[], volumes: readonly Volume[] = []) {
  const record = {} as ImageRecord;
  const apps = mounts.map((own) => ({ record, args: [], mounts: own }));
  return { apps, volumes, overlay: true, interactive: false, insecure: secure } as PodRequest;
}

describe('a volume that a mount brings along', () => {
  const own = (path: string, appVolume: Volume = EMPTY): Mount => ({
    volume: 'data',
    path,
    appVolume,
  });

  it('is the pod’s under a name of its own, and that mount’s alone', () => {
    const plain = { volume: 'data', path: '/c' };
    const asked = request(
      [
        [own('/a'), own('/b')],
        [own('/a'), plain],
      ],
      [EMPTY],
    );
    const { apps, volumes } = withAppVolumes(asked, ['one', 'two']);
    expect(volumes?.map(({ name }) => name)).toEqual([
      'data',
      'one-data',
      'one-data-2',
      'two-data',
    ]);
    expect(apps.map(({ mounts }) => mounts)).toEqual([
      [
        { volume: 'one-data', path: '/a' },
        { volume: 'one-data-2', path: '/b' },
      ],
      [{ volume: 'two-data', path: '/a' }, plain],
    ]);
  });

  it('takes the name of none that the pod has already', () => {
    const { volumes } = withAppVolumes(request([[own('/a')]]), ['one'], ['one-data']);
    expect(volumes?.map(({ name }) => name)).toEqual(['one-data-2']);
  });

  it('is refused where its name would be too long', () => {
    const long = { volume: 'x'.repeat(250), path: '/a', appVolume: EMPTY };
    expect(() => withAppVolumes(request([[long]]), ['one-of-many'])).toThrow(/is longer than 255/);
  });

  it('changes nothing of a pod without any', () => {
    const asked = request([[{ volume: 'data', path: '/c' }]], [EMPTY]);
    expect(withAppVolumes(asked, ['one'])).toBe(asked);
  });
});

describe('what a fresh volume begins with', () => {
  const point: MountPoint = { name: 'data', path: '/data', readOnly: false };

  function content(section: Partial<App>, annotations: Annotation[], given: Volume[] = []) {
    const layer = temporaryDirectory();
    mkdirSync(join(layer, 'data'));
    writeFileSync(join(layer, 'data/seed'), '');
    const record = { manifest: { annotations } } as unknown as ImageRecord;
    const app = {
      name: 'one',
      request: { record, args: [] },
      section: section as App,
      mounts: [point],
      layers: [layer],
    };
    const [volume] = podVolumes([app], given);
    return { ...volume, content: volume?.content.map((path) => path.slice(layer.length)) };
  }

  const docker = { name: 'appc.io/docker/repository', value: 'library/db' };

  it.each<[string, Partial<App>, Annotation[], string[]]>([
    ['an App Container image, nothing', {}, [], []],
    ['an OCI image, what it has there', { entrypoint: [] }, [], ['/data']],
    ['an image that docker2aci made, too', {}, [docker], ['/data']],
  ])('is of %s', (_, section, annotations, expected) => {
    expect(content(section, annotations).content).toEqual(expected);
  });

  it('is the same where the operator said what the volume looks like', () => {
    expect(content({ entrypoint: [] }, [], [EMPTY])).toEqual({
      volume: EMPTY,
      content: ['/data'],
    });
  });
});
