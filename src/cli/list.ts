import { listPods, overviewPods } from '../pod/list.ts';
import type { PodOverview } from '../pod/status.ts';
import type { CommandDefinition } from './command.ts';
import { formatJson } from './format.ts';
import {
  chosenFields,
  chosenOrder,
  compareValues,
  compareWords,
  type ListDefaults,
  type ListField,
  listOptions,
  timeText,
} from './listing.ts';
import { parseFormat } from './output.ts';
import { formatNetworks, podJson } from './pod-output.ts';
import { print } from './print.ts';
import { signerText } from './signer.ts';
import { formatTable } from './table.ts';

/** One line of the list: a pod and one of its apps, or none of a pod without. */
interface Entry {
  readonly pod: PodOverview;
  readonly app?: PodOverview['apps'][number];
}

/** What is of the pod, not of its apps, stands in its first line only. */
interface PodField extends ListField<Entry> {
  readonly ofPod?: true;
}

const FIELDS: Readonly<Record<string, PodField>> = {
  uuid: {
    header: 'UUID',
    ofPod: true,
    text: ({ pod }, full) => (full ? pod.uuid : pod.uuid.slice(0, 8)),
    compare: (a, b) => compareValues(a.pod.uuid, b.pod.uuid),
  },
  app: {
    header: 'APP',
    text: ({ app }) => app?.name ?? '-',
    compare: (a, b) => compareAbsent(a.app?.name, b.app?.name),
  },
  imagename: {
    header: 'IMAGE NAME',
    text: ({ app }) => app?.imageName ?? '-',
    compare: (a, b) => compareAbsent(a.app?.imageName, b.app?.imageName),
  },
  imageid: {
    header: 'IMAGE ID',
    text: ({ app }) => app?.imageId.slice(0, 'sha512-'.length + 12) ?? '-',
    compare: (a, b) => compareValues(a.app?.imageId, b.app?.imageId),
  },
  state: {
    header: 'STATE',
    ofPod: true,
    text: ({ pod }) => pod.state,
    compare: (a, b) => compareValues(a.pod.state, b.pod.state),
  },
  created: {
    header: 'CREATED',
    ofPod: true,
    text: ({ pod }, full) => timeText(pod.createdAt, full),
    compare: (a, b) => compareValues(a.pod.createdAt, b.pod.createdAt),
  },
  started: {
    header: 'STARTED',
    ofPod: true,
    text: ({ pod }, full) => timeText(pod.startedAt, full),
    compare: (a, b) => compareValues(a.pod.startedAt, b.pod.startedAt),
  },
  networks: {
    header: 'NETWORKS',
    ofPod: true,
    text: ({ pod }) => formatNetworks(pod.networks),
  },
  stage1: {
    header: 'STAGE1',
    ofPod: true,
    text: ({ pod }) => pod.stage1?.name ?? '',
    compare: (a, b) => compareAbsent(a.pod.stage1?.name, b.pod.stage1?.name),
  },
  signedby: {
    header: 'SIGNED BY',
    text: ({ app }, full) => (app?.provenance ? signerText(app.provenance, full) : ''),
  },
};

/** rkt's columns. Scripts written for it count them from the left: what `--full` has beside them comes last. */
const DEFAULTS: ListDefaults = {
  fields: 'uuid,app,imagename,state,created,started,networks',
  full: 'uuid,app,imagename,imageid,state,created,started,networks,signedby',
  sort: 'created',
};

export const definition: CommandDefinition = {
  name: 'list',
  summary: 'list pods',
  description:
    'Lists the pods, a line for each of their apps. --sort orders the pods, each by its first app.',
  options: listOptions(FIELDS, DEFAULTS, 'whole UUIDs, image ids, exact times and who signed'),
  examples: ['gantry list --sort=state,started --order=desc', 'gantry list --fields=uuid,state'],
  run(context, { options }) {
    const format = parseFormat(options['format']);
    const fields = chosenFields(FIELDS, DEFAULTS, options);
    const order = chosenOrder(FIELDS, options);
    const sorted = <T extends PodOverview>(pods: readonly T[]) =>
      pods.toSorted((a, b) => order(firstLine(a), firstLine(b)));
    if (format !== undefined) {
      print(`${formatJson(sorted(listPods(context.dataDir)).map(podJson), format)}\n`);
      return 0;
    }
    const full = options['full'] === true;
    const perApp = fields.some(({ ofPod }) => !ofPod);
    const rows = sorted(overviewPods(context.dataDir)).flatMap((pod) => {
      const lines = perApp && pod.apps.length > 0 ? pod.apps.length : 1;
      return Array.from({ length: lines }, (_, index) => {
        const entry = entryOf(pod, index);
        return fields.map(({ ofPod, text }) => (ofPod && index > 0 ? '' : text(entry, full)));
      });
    });
    const legend = options['legend'] === false ? [] : [fields.map(({ header }) => header)];
    print(formatTable([...legend, ...rows]));
    return 0;
  },
};

function firstLine(pod: PodOverview): Entry {
  return entryOf(pod, 0);
}

function entryOf(pod: PodOverview, index: number): Entry {
  const app = pod.apps[index];
  return app === undefined ? { pod } : { pod, app };
}

/** Names, those that are absent last. */
function compareAbsent(a: string | undefined, b: string | undefined): number {
  if (a === undefined || b === undefined) return compareValues(a, b);
  return compareWords(a, b);
}
