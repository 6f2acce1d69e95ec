/**
 * Loaded before the tests (`bunfig.toml`): properties that name no seed of their own are tried with the same cases in every
 * run, so that a failure is the change's and not the day's; `SEED=N` explores others.
 */
import fc from "fast-check";

fc.configureGlobal({ seed: Number(Bun.env.SEED ?? 1) });
