import { GantryError } from '../error.ts';
import { type AppStatus, podSummary } from '../pod/status.ts';
import { appName, appOption } from './app-selection.ts';
import type { CommandDefinition } from './command.ts';
import { formatJson } from './format.ts';
import { formatOption, parseFormat } from './output.ts';
import { appJson, timeLine } from './pod-output.ts';
import { onlyPod, uuidFileOption } from './pod-selection.ts';
import { oneLine, print } from './print.ts';

export const definition: CommandDefinition = {
  name: 'app status',
  summary: 'print the state and the exit code of an app of a pod',
  operands: 'UUID',
  options: [appOption('show'), uuidFileOption(), formatOption()],
  run(context, { operands, options }) {
    const format = parseFormat(options['format']);
    const name = appName(options, 'show');
    using pod = onlyPod(context, operands, options);
    const app = podSummary(pod).apps.find((each) => each.name === name);
    if (app === undefined) {
      throw new GantryError(
        'not-found',
        `cannot find app "${name}" in the pod: gantry app list shows the apps`,
      );
    }
    const text = format === undefined ? statusText(app) : formatJson(appJson(app), format);
    print(`${text}\n`);
    return 0;
  },
};

/** rkt's lines; its times have all their decimals here. */
function statusText(app: AppStatus): string {
  const lines = [
    `name=${app.name}`,
    `state=${app.state}`,
    `image_id=${app.imageId}`,
    ...timeLine('created_at', app.createdAt, 9),
    ...timeLine('started_at', app.startedAt, 9),
    ...timeLine('finished_at', app.finishedAt, 9),
    ...(app.exitCode === undefined ? [] : [`exit_code=${app.exitCode}`]),
    ...listLine('mounts', app.mounts.map(mountText)),
    ...listLine('user_annotations', Object.entries(app.userAnnotations).map(pairText)),
    ...listLine('user_labels', Object.entries(app.userLabels).map(pairText)),
  ];
  return lines.map(oneLine).join('\n');
}

function listLine(name: string, items: readonly string[]): string[] {
  return items.length === 0 ? [] : [`${name}=${items.join(',')}`];
}

function mountText({ source, path, readOnly }: AppStatus['mounts'][number]): string {
  return `${source}:${path}:(read_only:${readOnly})`;
}

function pairText([name, value]: readonly [string, string]): string {
  return `${name}:${value}`;
}
