import { checkModule, type EmulatedModule, type ModuleId, nameOf } from './identity.ts';
import { Twin } from './twin.ts';

/** The modules the hub knows, each with its twin. */
export class Modules {
  readonly #byName = new Map<string, { module: EmulatedModule; twin: Twin }>();

  /** Adds a module with an empty twin, or gives a known one other keys. @throws RangeError for ids or keys no hub has */
  add(module: EmulatedModule): void {
    checkModule(module);
    const twin = this.#byName.get(nameOf(module))?.twin ?? new Twin();
    this.#byName.set(nameOf(module), { module: { ...module }, twin });
  }

  /** @returns whether there was one */
  remove(module: ModuleId): boolean {
    return this.#byName.delete(nameOf(module));
  }

  find(module: ModuleId): EmulatedModule | undefined {
    return this.#byName.get(nameOf(module))?.module;
  }

  /** @throws RangeError when there is no such module */
  twinOf(module: ModuleId): Twin {
    const known = this.#byName.get(nameOf(module));
    if (known === undefined) throw new RangeError(`There is no module ${nameOf(module)}.`);
    return known.twin;
  }

  all(): EmulatedModule[] {
    return [...this.#byName.values()].map(({ module }) => module);
  }
}
