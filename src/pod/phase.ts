/**
 * Where a pod's directory lies says what has happened to it, and whether its flock is held says
 * whether someone is at it now: see specs/lifecycle.md.
 */
export const PHASES = [
  'embryo',
  'prepare',
  'prepared',
  'run',
  'exited-garbage',
  'garbage',
] as const;

/** The directory below `pods/` that a pod lies in. */
export type Phase = (typeof PHASES)[number];

/** The phases in which a pod can be named on the command line: the others never were pods, or are gone. */
export const NAMED_PHASES: readonly Phase[] = ['prepare', 'prepared', 'run', 'exited-garbage'];

/** A pod's state, in the words `list` and `status` print. */
export type PodState =
  | 'embryo'
  | 'preparing'
  | 'aborted prepare'
  | 'prepared'
  | 'running'
  | 'deleting'
  | 'exited deleting'
  | 'exited'
  | 'exited garbage'
  | 'garbage';

/** The state of a pod that lies in `phase` and whose lock is held by a process or is not. */
export function stateOf(phase: Phase, locked: boolean): PodState {
  switch (phase) {
    case 'embryo':
      return 'embryo';
    case 'prepare':
      return locked ? 'preparing' : 'aborted prepare';
    case 'prepared':
      return 'prepared';
    case 'run':
      return locked ? 'running' : 'exited';
    case 'exited-garbage':
      return locked ? 'exited deleting' : 'exited garbage';
    case 'garbage':
      return locked ? 'deleting' : 'garbage';
  }
}
