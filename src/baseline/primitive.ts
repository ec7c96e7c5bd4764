import type * as v from 'valibot';
import type { System } from './system.ts';
import type { Verdict } from './verdict.ts';

/** A kind of fact that a rule can be about. Rules give parameters; what is looked at, and how, stands here. */
export interface Primitive<P> {
  /** As rules name it. */
  readonly name: string;
  /** What it looks at, in one sentence. */
  readonly summary: string;
  readonly params: v.GenericSchema<unknown, P>;
  /** What must hold, for people. */
  expected(params: P): string;
  /** How to make it hold, in one sentence. */
  remedy(params: P): string;
  /** Looks, and says what was found. Never waits for others; throws only for a defect. */
  judge(params: P, system: System): Verdict | Promise<Verdict>;
}

/** Declares a primitive: `judge` gets what `params` describes. */
export const primitive = <S extends v.GenericSchema>(
  declaration: Omit<Primitive<v.InferOutput<S>>, 'params'> & { readonly params: S },
) => declaration;
