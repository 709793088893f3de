import { GantryError } from '../error.ts';
import {
  type CliOption,
  type CommandDefinition,
  longName,
  shownOptions,
  takesValue,
} from './command.ts';
import { globalOptions } from './globals.ts';
import { print } from './print.ts';
import { allDefinitions } from './registry.ts';

export const definition: CommandDefinition = {
  name: 'completion',
  summary: 'print the completion script of a shell',
  operands: 'bash|zsh|fish',
  examples: ['gantry completion bash > /etc/bash_completion.d/gantry'],
  async run(_context, { operands }) {
    const [shell] = operands;
    const write = shell === undefined ? undefined : SHELLS[shell];
    if (operands.length !== 1 || write === undefined) {
      throw new GantryError('usage', 'name one shell: gantry completion bash, zsh or fish');
    }
    print(write(await vocabulary()));
    return 0;
  },
};

/** What can be completed: the options after each command's words. */
interface Vocabulary {
  commands: { words: string; summary: string; options: readonly CliOption[] }[];
}

const SHELLS: Readonly<Record<string, (vocabulary: Vocabulary) => string>> = {
  bash: bashScript,
  zsh: (vocabulary) =>
    `#compdef gantry\nautoload -U +X bashcompinit && bashcompinit\n${bashScript(vocabulary)}`,
  fish: fishScript,
};

async function vocabulary(): Promise<Vocabulary> {
  const commands = (await allDefinitions()).map((each) => ({
    words: each.name,
    summary: each.summary,
    options: [...shownOptions(each.options), ...globalOptions()],
  }));
  return { commands };
}

function longNames(options: readonly CliOption[]): string {
  return options.map((option) => `${longName(option)}${takesValue(option) ? '=' : ''}`).join(' ');
}

/** The options whose values are worth completing. */
function valuesByOption(commands: Vocabulary['commands']): Map<string, readonly string[]> {
  const options = commands.flatMap((command) => command.options);
  return new Map(options.flatMap((each) => (each.values ? [[longName(each), each.values]] : [])));
}

function bashScript({ commands }: Vocabulary): string {
  const first = [...new Set(commands.map(({ words }) => words.split(' ')[0]))].join(' ');
  const groups = Map.groupBy(
    commands.filter(({ words }) => words.includes(' ')),
    ({ words }) => words.split(' ')[0] ?? '',
  );
  const groupCases = [...groups].map(([group, members]) => {
    const own = commands.find(({ words }) => words === group)?.options ?? [];
    const words = [...members.map(({ words }) => words.split(' ')[1]), longNames(own)].join(' ');
    return `    ${group}) words="${words.trim()}" ;;`;
  });
  // What follows a group and is none of its members is an operand: the key of `trust KEY`.
  const groupSteps = [...groups].map(([group, members]) => {
    const words = members.map((member) => member.words.split(' ')[1]).join('|');
    return `    ${group}) case "$word" in ${words}) command="$command $word" ;; esac ;;`;
  });
  const optionCases = commands
    // One that is a group too has its case there: the shell takes the first that fits.
    .filter(({ words }) => !groups.has(words))
    .map(({ words, options }) => `    "${words}") words="${longNames(options)}" ;;`);
  const valueCases = [...valuesByOption(commands)].map(
    ([option, values]) => `    ${option}) words="${values.join(' ')}" ;;`,
  );
  const globalsWithValue = globalOptions().filter(takesValue).map(longName).join('|');
  return `# bash completion for gantry, written by "gantry completion bash"
_gantry() {
  local current="\${COMP_WORDS[COMP_CWORD]}" option="\${COMP_WORDS[COMP_CWORD-1]}"
  local command="" word words="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$word" in
    =) ((++i)); continue ;;
    ${globalsWithValue})
      [[ "\${COMP_WORDS[i+1]}" == "=" ]] || ((++i))
      continue ;;
    -*) continue ;;
    esac
    case "$command" in
    "") command="$word" ;;
${groupSteps.join('\n')}
    esac
  done
  case "$command" in
    "") words="${first} ${longNames(globalOptions())}" ;;
${groupCases.join('\n')}
${optionCases.join('\n')}
  esac
  case "$command" in
    "app add"|"app list"|"app rm"|"app start"|"app status"|"app stop"|enter|stop|rm|status|cat-manifest|plan|run-prepared)
      [[ "$current" == -* ]] || words="$(gantry list --full --no-legend 2>/dev/null | cut -f1)" ;;
  esac
  # The shell takes --option=value for three words.
  [[ "$option" == "=" ]] && option="\${COMP_WORDS[COMP_CWORD-2]}"
  [[ "$current" == "=" ]] && current=""
  case "$option" in
${valueCases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ "\${COMPREPLY[0]}" == *= ]] && compopt -o nospace
}
complete -o default -F _gantry gantry
`;
}

function fishScript({ commands }: Vocabulary): string {
  const quote = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = ['# fish completion for gantry, written by "gantry completion fish"'];
  for (const { words, summary, options } of commands) {
    const [first, second] = words.split(' ');
    const parent =
      second === undefined ? '__fish_use_subcommand' : `__fish_seen_subcommand_from ${first}`;
    lines.push(`complete -c gantry -n ${quote(parent)} -a ${second ?? first} -d ${quote(summary)}`);
    for (const option of options) {
      const { values } = option;
      const offers = values === undefined ? '' : ` -f -a ${quote(values.join(' '))}`;
      const takes = takesValue(option) ? ` -r${offers}` : '';
      lines.push(
        `complete -c gantry -n ${quote(`__fish_seen_subcommand_from ${second ?? first}`)} -l ${longName(option).slice(2)}${takes} -d ${quote(option.description)}`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}
