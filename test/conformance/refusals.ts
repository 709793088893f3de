import { FEATURES, type Feature } from '../../src/stage1/features.ts';
import { SHIPPED } from '../../src/stage1/shipped.ts';
import { requireSame, requireThat } from './expect.ts';
import { requireAskable } from './granting.ts';
import { imageReference } from './laboratory.ts';
import type { PodWishes, Trial } from './trial.ts';

const probe = ['exit', '0'];

/** How a pod asks for each feature that can be asked for. */
const ASKING: Partial<Record<Feature, PodWishes>> = {
  'several-apps': {
    options: [imageReference('probe'), '--name=first', '--', ...probe, '---'],
    appOptions: ['--name=second'],
    probe,
  },
  interactive: { options: ['--interactive'], probe },
  'net-none': { options: ['--net=none'], probe },
  'net-host': { options: ['--net=host'], probe },
  hostname: { options: ['--hostname=conformance'], probe },
  'no-overlay': { options: ['--no-overlay'], probe },
  'read-only-rootfs': { appOptions: ['--readonly-rootfs'], probe },
  'empty-volumes': { image: 'volume', probe },
  'host-volumes': { image: 'volume', options: ['--volume=data,kind=host,source=/usr'], probe },
  capabilities: { image: 'restricted', probe },
  limits: { appOptions: ['--pids=10'], probe },
  'private-users': { options: ['--private-users'], probe },
  'no-new-privileges': { image: 'unprivileged', probe },
  seccomp: { image: 'filtered', probe },
  'oom-score': { appOptions: ['--oom-score-adj=500'], probe },
  rlimits: { appOptions: ['--rlimit=core=0'], probe },
  labels: { appOptions: ['--apparmor-profile=unconfined'], probe },
  sysctl: { options: ['--sysctl=net.core.somaxconn=77'], probe },
  'event-handlers': { image: 'handled', probe },
};

/** Whether any shipped flavour has it: what none has, this Gantry does not even ask for. */
function isGranted(feature: Feature): boolean {
  return Object.values(SHIPPED).some(({ features }) =>
    (features as readonly Feature[]).includes(feature),
  );
}

/** What the stage1 does not claim is refused by name, before anything starts. */
export async function checkRefusals(trial: Trial): Promise<void> {
  for (const feature of Object.keys(FEATURES) as Feature[]) {
    const wishes = ASKING[feature];
    if (trial.features.has(feature) || wishes === undefined || !isGranted(feature)) continue;
    await trial.checkRefusal(feature, 'a pod that asks for it is refused by its name', async () => {
      const { code, stdout, stderr } = await trial.runToEnd(wishes);
      requireAskable(stderr);
      requireSame(code, 254, 'exit code of run');
      requireSame(stdout, '', 'output');
      requireThat(
        stderr.includes(feature),
        `the message does not name ${feature}: ${stderr.trim()}`,
      );
    });
  }
  if (!trial.features.has('mutable')) {
    await trial.checkRefusal('mutable', 'a sandbox is refused by its name', async () => {
      const { code, stderr } = await trial.gantry('app sandbox', trial.option);
      requireAskable(stderr);
      requireSame(code, 254, 'exit code of app sandbox');
      requireThat(
        stderr.includes('mutable'),
        `the message does not name mutable: ${stderr.trim()}`,
      );
    });
  }
  await trial.clear();
}
