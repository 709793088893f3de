import { describe, expect, it } from 'vitest';
import { encodeAppPlan, encodePlan, formatPlan, type Plan } from '../../../src/stage1/plan.ts';

const plan: Plan = {
  supervisor: [['namespaces', 'pid', 'mount']],
  pod: [['private-mounts'], ['hostname', 'web']],
  apps: [
    {
      name: 'web',
      steps: [
        ['env', 'GREETING', "it's a nice day"],
        ['write-file', '/etc/hosts', '0644', 'a\tb\n'],
        ['exec', '/bin/web', 'web', ''],
      ],
    },
  ],
  teardown: [['remove-cgroup', '/sys/fs/cgroup/gantry-1']],
};

describe('a launch plan', () => {
  it('is words, counts and arguments, each ended by a NUL', () => {
    const text = encodePlan({ ...plan, pod: [['private-mounts']], apps: [], teardown: [] });
    expect(text.toString()).toBe(
      'gantry-plan\x001\0section\x001\0supervisor\0namespaces\x002\0pid\0mount\0section\x001\0pod\0private-mounts\x000\0',
    );
  });

  it('shows one step a line, quoted for a shell', () => {
    expect(formatPlan(encodePlan(plan))).toBe(
      [
        'section supervisor',
        '  namespaces pid mount',
        'section pod',
        '  private-mounts',
        '  hostname web',
        'section app web',
        "  env GREETING 'it'\\''s a nice day'",
        "  write-file /etc/hosts 0644 $'a\\011b\\n'",
        "  exec /bin/web web ''",
        'section teardown',
        '  remove-cgroup /sys/fs/cgroup/gantry-1',
        '',
      ].join('\n'),
    );
  });

  it('of an app that comes later is what is done outside, then its section', () => {
    const [app] = plan.apps;
    if (app === undefined) throw new Error('no app');
    expect(formatPlan(encodeAppPlan({ outside: [['private-mounts']], app }))).toMatch(
      /^section outside\n {2}private-mounts\nsection app web\n {2}env GREETING /,
    );
  });

  it('cannot be made to garble a terminal', () => {
    const hostile = formatPlan(
      encodePlan({ ...plan, pod: [['hostname', '\x1b[2J\u009b1m']], apps: [], teardown: [] }),
    );
    expect(hostile).toContain("hostname $'\\033[2J\\302\\2331m'");
  });

  it('refuses a NUL within an argument', () => {
    expect(() => encodePlan({ ...plan, pod: [['hostname', 'a\0b']] })).toThrow(/NUL/);
  });

  it('refuses to be larger than the launcher reads', () => {
    expect(() => encodePlan({ ...plan, pod: [['hostname', 'x'.repeat(1 << 22)]] })).toThrow(
      /more than the launcher reads/,
    );
  });

  it.each(['', 'gantry-plan\x002\0', 'gantry-plan\x001\0mount\x009\0a\0', 'gantry-plan\x001\0x'])(
    'is damaged as %j',
    (text) => {
      expect(() => formatPlan(Buffer.from(text))).toThrow('the launch plan is damaged');
    },
  );
});
