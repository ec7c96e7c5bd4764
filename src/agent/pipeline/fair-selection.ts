import { UNIT_BYTES } from '../../core/contract/message.ts';
import { originOf } from './event-owner.ts';
import type { Budget, ReserveShare } from './message-budget.ts';
import type { Accepts } from './store.ts';

/** In which order the reserve serves alerts: owners that have had none of it, rules that have had none, all others. */
export const TURNS: readonly ReserveShare['turn'][] = [0, 1, 2];

type Shares = Pick<Budget, 'shareOfLow' | 'shareOfReserve' | 'noteOverShare'>;

/** Chooses events so that no owner takes the message units that others need. */
export class FairSelection {
  readonly #shares: Shares;
  /** Units that a byte of an event costs. */
  readonly #unitsPerByte: number;
  readonly #overShare = new Set<string>();
  /** The last Low event that was decided about. */
  #examined: number | undefined;
  /** Where the next search begins: one that reads many events of owners without a share ends before it has read all. */
  #from = 0;
  #sawUrgent = false;

  /** @param copies how often each event is sent */
  constructor(shares: Shares, copies: number) {
    this.#shares = shares;
    this.#unitsPerByte = copies / UNIT_BYTES;
  }

  /** Low events of owners that have not used their share; for one message. */
  ofLow(): { readonly accepts?: Accepts; readonly from: number } {
    this.#overShare.clear();
    this.#examined = undefined;
    if (this.#shares.shareOfLow('') === Number.POSITIVE_INFINITY) return { from: 0 };
    const left = new Map<string, number>();
    return { accepts: (event) => this.#isWithinShare(event, left), from: this.#from };
  }

  /** Ends a search for Low events. @returns whether events of an owner wait for its share */
  packedLow(isEmpty: boolean): boolean {
    this.#from = isEmpty && this.#examined !== undefined ? this.#examined + 1 : 0;
    if (!isEmpty || this.#examined !== undefined) this.#shares.noteOverShare(this.#overShare);
    return this.#overShare.size > 0;
  }

  /** Urgent events whose turn it is; for one message. */
  inTurn(turn: ReserveShare['turn']): Accepts {
    if (turn === 0) this.#sawUrgent = false;
    const served = new Set<string>();
    const used = new Map<string, number>();
    return ({ bytes, json }) => {
      this.#sawUrgent = true;
      const { owner, rule } = originOf(json());
      const share = this.#shares.shareOfReserve(owner, rule);
      const first = turn === 0 ? owner : `${owner}\n${rule}`;
      const units = (used.get(owner) ?? 0) + bytes * this.#unitsPerByte;
      if (share.turn !== turn || units > share.units || (turn < 2 && served.has(first))) return false;
      served.add(first);
      used.set(owner, units);
      return true;
    };
  }

  /** Whether the last search found urgent events at all. */
  get sawUrgent(): boolean {
    return this.#sawUrgent;
  }

  #isWithinShare({ position, bytes, json }: Parameters<Accepts>[0], left: Map<string, number>): boolean {
    this.#examined = position;
    const { owner, isShared } = originOf(json());
    if (!isShared) return true;
    const units = (left.get(owner) ?? this.#shares.shareOfLow(owner)) - bytes * this.#unitsPerByte;
    if (units >= 0) left.set(owner, units);
    else this.#overShare.add(owner);
    return units >= 0;
  }
}
