import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { needs, root } from '../support/requirements.ts';
import { createRefusals, type Refusals, type Row, wordsOf } from './refusals.ts';

const LONG = 'x'.repeat(300);
const HUGE = '9'.repeat(40);

/** Before the image; they are of the pod. */
const OF_POD: readonly Row[] = [
  ['--hostname=bad_name', '--hostname: invalid host name "bad_name"'],
  [`--hostname=${LONG}`, '--hostname: invalid host name "xxx'],
  ['--hostname=a\nb', '--hostname: invalid host name "a\\nb"'],
  ['--ipc=host', '--ipc: "host" is unknown: use auto, private or parent'],
  ['--pull-policy=always', '--pull-policy: "always" is unknown: use never, new or update'],
  ['--pull-policy=', '--pull-policy: "" is unknown'],
  [['--store-only', '--no-store'], 'both --store-only and --no-store specified'],
  ['--set-env=A', '--set-env: "A" is not NAME=VALUE'],
  ['--set-env==1', '--set-env: "=1" is not NAME=VALUE'],
  ['--set-env=1A=1', '--set-env: environment variable "1A": a name has'],
  ['--set-env=A B=1', '--set-env: environment variable "A B": a name has'],
  ['--set-env-file=/none', '--set-env-file: cannot read /none: no such file or directory'],
  ['--set-env-file=/etc', '--set-env-file: cannot read /etc: it is a directory'],
  ['--annotation=a', '--annotation: "a" is not NAME=VALUE'],
  ['--annotation=A B=1', 'invalid --annotation name "A B"'],
  ['--pod-manifest=/none', 'conflicting flags set with --pod-manifest (see --help)'],
  ['--no-overlay=maybe', 'no-overlay'],
  ['--unknown', 'unknown option'],
  ['--volume=', 'invalid --volume "": must not be empty'],
  ['--volume=Data,kind=empty', 'invalid --volume "Data": must contain only'],
  [`--volume=${LONG}${LONG},kind=empty`, 'is longer than '],
  ['--volume=../x,kind=empty', 'invalid --volume "../x"'],
  ['--volume=data', '--volume data: kind=host or kind=empty must follow the name'],
  ['--volume=data,kind=disk', '--volume data: kind must be host or empty, not "disk"'],
  ['--volume=data,kind=host', '--volume data: source= is required'],
  ['--volume=data,kind=host,source=', '--volume data: source= is required'],
  ['--volume=data,kind=host,source=tmp', '--volume data: source must be an absolute path'],
  ['--volume=data,kind=host,source=/a/../b', '--volume data: source must be an absolute path'],
  ['--volume=data,kind=host,source=/a,uid=1', '--volume data: "uid=1" is none of'],
  ['--volume=data,kind=host,source=/a,readOnly=si', '--volume data: readOnly must be true or'],
  ['--volume=data,kind=host,source=/a,recursive=2', '--volume data: recursive must be true or'],
  ['--volume=data,kind=host,source=/a,propagation=x', '--volume data: propagation must be'],
  ['--volume=data,kind=empty,source=/a', '--volume data: "source=/a" is none of'],
  ['--volume=data,kind=empty,mode=0999', '--volume data: mode must be three or four octal'],
  ['--volume=data,kind=empty,mode=u+x', '--volume data: mode must be three or four octal'],
  ['--volume=data,kind=empty,uid=-1', '--volume data: uid must be a number below 4294967295'],
  ['--volume=data,kind=empty,uid=4294967295', '--volume data: uid must be a number below'],
  [`--volume=data,kind=empty,gid=${HUGE}`, '--volume data: gid must be a number below'],
  ['--volume=data,kind=empty,gid=root', '--volume data: gid must be a number below'],
  ['--volume=data,kind=empty,mode=0755,mode=0700', '--volume data: mode is given twice'],
  [
    ['--volume=data,kind=empty', '--volume=data,kind=host,source=/tmp'],
    '--volume data: two volumes have this name',
  ],
  ['--mount=volume=data', '--mount "volume=data": target= is required'],
  ['--mount=target=/data', '--mount "target=/data": volume= is required'],
  ['--mount=volume=none,target=/x', '--mount: app "probe": there is no volume "none"'],
  ['--exec=/x', '--exec must follow an image'],
  ['--name=x', '--name must follow an image'],
  ['--user-label=a=b', '--user-label must follow an image'],
  ['--stage1-name=none', 'none'],
  [['--stage1-name=native', '--stage1-name=chroot'], '--stage1-'],
  [['--stage1-name=chroot', '--ipc=private'], 'lacks private-ipc'],
  [['--stage1-name=kvm', '--ipc=parent'], 'lacks host-ipc'],
];

/** After the image: whatever is wrong, the message names it. */
const OF_APP: readonly Row[] = [
  ['--name=', 'invalid --name "": must not be empty'],
  ['--name=Big', 'invalid --name "Big": must contain only lower case'],
  ['--name=-x', 'invalid --name "-x": must start and end with'],
  ['--name=a/b', 'invalid --name "a/b": must contain only lower case'],
  [`--name=${LONG}`, 'is longer than 255 characters'],
  [
    `--name=${LONG.slice(0, 200)}`,
    'an app of a pod at most 128: give it a shorter one with --name',
  ],
  [['--name=a', '--name=b'], '--name specified multiple times for the same image'],
  ['--exec=', '--exec: it must not be empty'],
  [['--exec=/a', '--exec=/b'], '--exec specified multiple times for the same image'],
  [
    '--exec=/none',
    'Error: Unable to open "/none": No such file or directory: name another program with --exec',
  ],
  ['--exec=none', 'unable to find "none" in '],
  ['--exec=/etc', '"/etc" is a directory and no program: name another program with --exec'],
  ['--exec=/etc/plain', '"/etc/plain" is not executable: it has mode 0644: name another'],
  ['--exec=/bin/foreign', '"/bin/foreign" is for '],
  [
    '--exec=/bin/text',
    '"/bin/text" is no program: it has no ELF header and does not begin with #!',
  ],
  ['--exec=/bin/script', '"/bin/script" needs "/bin/sh": Error: Unable to open "/bin/sh"'],
  ['--exec=/bin/dynamic', 'Error: Unable to open "/lib/ld.so": No such file or directory'],
  ['--working-dir=', '--working-dir: "" is no absolute path'],
  ['--working-dir=srv', '--working-dir: "srv" is no absolute path'],
  ['--working-dir=/a/../b', '--working-dir: "/a/../b" is no absolute path without ".."'],
  [
    '--working-dir=/etc/plain',
    '/etc/plain of the image is no directory to work in: choose one with --working-dir',
  ],
  [
    '--working-dir=/none',
    'the image has no directory /none to work in: choose one with --working-dir',
  ],
  ['--user=', '--user: it must not be empty'],
  [
    '--user=nobody-here',
    'the image has no user "nobody-here" in /etc/passwd: give a number with --user',
  ],
  ['--user=-1', 'the image has no user "-1"'],
  ['--user=4294967295', 'the image has no user "4294967295"'],
  [`--user=${HUGE}`, 'the image has no user "9999'],
  ['--user=/none', 'the image has no file /none, whose user the app should run as'],
  [['--user=1', '--user=2'], '--user specified multiple times for the same image'],
  ['--group=', '--group: it must not be empty'],
  ['--group=wheels', 'the image has no group "wheels" in /etc/group: give a number with --group'],
  ['--group=4294967295', 'the image has no group "4294967295"'],
  ['--supplementary-gids=', '--supplementary-gids: "" is no group id'],
  ['--supplementary-gids=1,,2', '--supplementary-gids: "" is no group id'],
  ['--supplementary-gids=1,x', '--supplementary-gids: "x" is no group id'],
  ['--supplementary-gids=4294967295', '--supplementary-gids: "4294967295" is no group id'],
  ['--environment=A', '--environment: "A" is not NAME=VALUE'],
  ['--environment=A-b c=1', '--environment: environment variable "A-b c": a name has'],
  ['--annotation=Big=1', 'invalid --annotation name "Big"'],
  ['--user-annotation=x', '--user-annotation: "x" is not NAME=VALUE'],
  ['--user-label=x', '--user-label: "x" is not NAME=VALUE'],
  ['--readonly-rootfs=maybe', 'readonly-rootfs'],
  ['--mount=volume=data', '--mount "volume=data": target= is required'],
  ['--mount=volume=data,target=data', 'target must be an absolute path without ".."'],
  ['--mount=volume=data,target=/../x', 'target must be an absolute path without ".."'],
  ['--mount=volume=data,target=/x,kind=empty', '"kind=empty" is none of volume=, target='],
  ['--mount=volume=none,target=/x', '--mount: app "probe": there is no volume "none"'],
  [
    ['--volume=d,kind=empty', '--mount=volume=d,target=/'],
    'mount point d: / is the root, over which nothing is mounted',
  ],
  [
    ['--volume=d,kind=empty', '--mount=volume=d,target=/etc/plain'],
    'mount point d: /etc/plain is no directory in the image',
  ],
  [
    ['--volume=d,kind=empty', '--mount=volume=d,target=/x', '--mount=volume=d,target=/x/'],
    '--mount: app "probe": two volumes have the target "/x"',
  ],
  [
    ['--volume=d,kind=host,source=/none/at/all', '--mount=volume=d,target=/x'],
    '--volume d: source "/none/at/all": there is no such file',
  ],
  ['--caps-retain=CAP_FLY', 'CAP_FLY'],
  ['--caps-remove=', 'capability'],
  [
    ['--caps-retain=CAP_KILL', '--caps-remove=CAP_KILL'],
    'cannot use both --caps-retain and --caps-remove',
  ],
  [
    '--stdin=stream',
    '--stdin: stream is not supported: give the app this terminal with --interactive',
  ],
  ['--stdout=tty', '--stdout: tty is not supported'],
  ['--stderr=none', '--stderr: "none" is unknown: use null or log'],
];

let world: Refusals;

beforeAll(async () => {
  if (root.met) world = await createRefusals(writeImage);
});

afterAll(() => world?.remove());

beforeEach((context) => needs(context, root));

function writeImage(rootfs: string): void {
  const foreign = Buffer.alloc(120);
  foreign.write('\x7fELF\x02\x01\x01', 'latin1');
  foreign.writeUInt16LE(2, 16);
  foreign.writeUInt16LE(process.arch === 'arm64' ? 62 : 183, 18);
  foreign.writeBigUInt64LE(64n, 32);
  foreign.writeUInt16LE(56, 54);
  foreign.writeUInt16LE(1, 56);
  const dynamic = Buffer.concat([foreign, Buffer.from('/lib/ld.so\0')]);
  dynamic.writeUInt16LE(process.arch === 'arm64' ? 183 : 62, 18);
  dynamic.writeUInt32LE(3, 64);
  dynamic.writeBigUInt64LE(120n, 72);
  dynamic.writeBigUInt64LE(11n, 96);
  const programs = { foreign, dynamic, text: 'echo hello\n', script: '#!/bin/sh\necho hello\n' };
  for (const [name, content] of Object.entries(programs)) {
    writeFileSync(join(rootfs, 'bin', name), content);
    chmodSync(join(rootfs, 'bin', name), 0o755);
  }
  writeFileSync(join(rootfs, 'etc/plain'), 'text\n');
}

describe('of a pod', () => {
  it.each(OF_POD)('%j is refused', async (words, message) => {
    await world.expectRefusal('prepare', [...wordsOf(words), world.reference], message);
  });

  it.each<Row>([
    ['--net=bridge0', '--net: network "bridge0" is not available: use none or host'],
    ['--net=', '--net: network "" is not available'],
    ['--uuid-file-save=/none/file', '--uuid-file-save: cannot write /none/file'],
    ['--uuid-file-save=/etc', '--uuid-file-save: cannot write /etc'],
  ])('%j is refused by run', async (words, message) => {
    await world.expectRefusal('run', [...wordsOf(words), world.reference], message);
  });

  it('variables in a file are refused with the file', async () => {
    const file = join(world.directory, 'variables');
    for (const [content, message] of [
      ['A=1\nB\n', '"B" is not NAME=VALUE'],
      ['# one\n; two\n\n1=2\n', 'environment variable "1"'],
      ['A=\0\n', 'it holds a NUL byte'],
    ] as const) {
      writeFileSync(file, content);
      const words = [`--set-env-file=${file}`, world.reference];
      await world.expectRefusal('prepare', words, `--set-env-file ${file}: ${message}`);
    }
  });

  it('without images is refused', async () => {
    await world.expectRefusal('prepare', [], 'pod must contain at least one application');
  });

  it('with one name for two apps is refused, with rkt’s words', async () => {
    const message = 'multiple apps with name probe: give each its own with --name';
    await world.expectRefusal('prepare', [world.reference, world.reference], message);
    const words = [world.reference, '--name=one', world.reference, '--name=one'];
    await world.expectRefusal('prepare', words, 'multiple apps with name one');
  });

  it('with two apps on one terminal is refused', async () => {
    const words = ['--interactive', world.reference, world.reference, '--name=two'];
    await world.expectRefusal('run', words, 'interactive option only supports one image');
  });

  it('with a terminal and a stream that leads nowhere is refused', async () => {
    const words = ['--interactive', world.reference, '--stdout=null'];
    await world.expectRefusal('run', words, 'app "probe": --interactive gives it the terminal');
  });
});

describe('of an app', () => {
  it.each(OF_APP)('%j is refused, and the app is named', async (words, message) => {
    const stderr = await world.expectRefusal(
      'prepare',
      [world.reference, ...wordsOf(words)],
      message,
    );
    const ofParser = wordsOf(words).some((word) => word.startsWith('--readonly-rootfs'));
    const ofPod = stderr.includes('--volume d: ');
    if (!ofParser && !ofPod) expect(stderr).toMatch(/app (name )?"|image |for the same image/);
  });

  it.each([
    ['sha512-x', 'image ID too short'],
    ['sha512-00', 'no image IDs found'],
    ['example.com/none', 'example.com/none'],
    ['', 'image reference "": it must not be empty'],
    ['a b', 'holds a space or a control character'],
    ['https://[', 'https://['],
  ])('image %j is refused', async (image, message) => {
    await world.expectRefusal('prepare', ['--pull-policy=never', image], message);
  });

  it('arguments without an image, and twice, are refused', async () => {
    await world.expectRefusal(
      'prepare',
      ['--', 'x'],
      'an image is required before any app arguments',
    );
    const words = [world.reference, '--', 'x', '---', '--', 'y'];
    await world.expectRefusal('prepare', words, 'only one set of app arguments allowed per image');
  });
});

describe('of a pod that is started', () => {
  it.each<Row>([
    ['--hostname=bad_name', '--hostname: invalid host name "bad_name"'],
    ['--ipc=host', '--ipc: "host" is unknown: use auto, private or parent'],
    ['--net=bridge0', '--net: network "bridge0" is not available: use none or host'],
    ['--mount=volume=a,target=/a', 'unknown option'],
  ])('%j is refused, and the pod stays prepared', async (word, message) => {
    const uuid = await world.gantry.call('prepare', world.reference);
    const { code, stderr } = await world.gantry.run('run-prepared', ...wordsOf(word), uuid);
    expect(stderr).toContain(message);
    expect(code).toBe(254);
    expect(existsSync(join(world.gantry.dataDirectory, 'pods/prepared', uuid))).toBe(true);
    await world.gantry.call('rm', uuid);
  });
});

it('nothing is left of any of them', () => world.expectNothing());
