/** For whoever makes an object member by member: spreading what may be absent costs several times as much. */
export type Writable<T> = { -readonly [K in keyof T]: T[K] };
