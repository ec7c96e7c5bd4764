/** For building an object member by member: spreading optional members is several times slower. */
export type Writable<T> = { -readonly [K in keyof T]: T[K] };
