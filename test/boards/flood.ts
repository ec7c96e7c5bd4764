import type { Board } from './board.ts';

/** The user id of the flooding user, for whom the board has no account. */
const FLOODER = 2001;
const PROCESSES = 2;
const ARGUMENT_BYTES = 100_000;
const UNIT = 'flood';

const LOOP = `
long=$("$1" head -c ${ARGUMENT_BYTES} /dev/zero | "$1" tr '\\0' x)
for process in $("$1" seq ${PROCESSES}); do
  while :; do "$1" true "$2" "$long"; done &
done
wait`;

/** Two processes of an ordinary user that start programs with long arguments as fast as they can. */
export class Flood {
  static readonly user = String(FLOODER);
  readonly #board: Board;

  private constructor(board: Board) {
    this.#board = board;
  }

  /**
   * @param busybox the program that is started, and whose commands are used
   * @param mark an argument of every program that the flood starts
   */
  static async start(board: Board, busybox: string, mark: string): Promise<Flood> {
    // In the slice of a login session of that user, which has the default weight.
    const unit = ['systemd-run', '-q', `--unit=${UNIT}`, `--slice=user-${FLOODER}.slice`];
    const asFlooder = ['setpriv', `--reuid=${FLOODER}`, `--regid=${FLOODER}`, '--clear-groups'];
    await board.must([...unit, ...asFlooder, busybox, 'sh', '-c', LOOP, 'sh', busybox, mark]);
    return new Flood(board);
  }

  async stop(): Promise<void> {
    await this.#board.run(['systemctl', 'stop', UNIT]);
  }
}
