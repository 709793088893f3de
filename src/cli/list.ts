import { listPods } from '../pod/list.ts';
import type { PodSummary } from '../pod/status.ts';
import { type CommandDefinition, flag } from './command.ts';
import { formatJson, formatRelative, formatTime } from './format.ts';
import { formatOption, parseFormat } from './output.ts';
import { dateOf, formatNetworks, podJson } from './pod-output.ts';
import { print } from './print.ts';
import { signerText } from './signer.ts';
import { formatTable } from './table.ts';

export const definition: CommandDefinition = {
  name: 'list',
  summary: 'list pods',
  options: [
    flag('--full', 'whole UUIDs, image ids and exact times'),
    flag('--no-legend', 'without the line of column names'),
    formatOption(),
  ],
  run(context, { options }) {
    const format = parseFormat(options['format']);
    const pods = listPods(context.dataDir);
    if (format !== undefined) {
      print(`${formatJson(pods.map(podJson), format)}\n`);
      return 0;
    }
    const full = options['full'] === true;
    const rows = pods.flatMap((pod) => podRows(pod, full));
    const legend = options['legend'] === false ? [] : [header(full)];
    print(formatTable([...legend, ...rows]));
    return 0;
  },
};

function header(full: boolean): string[] {
  const columns = ['STATE', 'CREATED', 'STARTED', 'NETWORKS'];
  if (!full) return ['UUID', 'APP', 'IMAGE NAME', ...columns];
  // Scripts written for rkt count columns from the left: what is new comes last.
  return ['UUID', 'APP', 'IMAGE NAME', 'IMAGE ID', ...columns, 'SIGNED BY'];
}

/** A line for each app; the cells that describe the pod stand in the first only. */
function podRows(pod: PodSummary, full: boolean): string[][] {
  const uuid = full ? pod.uuid : pod.uuid.slice(0, 8);
  const time = (timestamp: bigint | undefined) => {
    if (timestamp === undefined) return '';
    return full ? formatTime(dateOf(timestamp)) : formatRelative(dateOf(timestamp));
  };
  const after = [pod.state, time(pod.createdAt), time(pod.startedAt), formatNetworks(pod.networks)];
  if (pod.apps.length === 0) return [[uuid, '-', '-', ...(full ? ['-'] : []), ...after]];
  return pod.apps.map((app, index) => {
    const id = full ? [app.imageId.slice(0, 'sha512-'.length + 12)] : [];
    const signer = full ? [app.provenance ? signerText(app.provenance, true) : ''] : [];
    const cells = index === 0 ? after : after.map(() => '');
    return [index === 0 ? uuid : '', app.name, app.imageName, ...id, ...cells, ...signer];
  });
}
