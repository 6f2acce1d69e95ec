/** The types of msgpackr's build without `eval`, which it ships without any: those of its index. */
declare module "msgpackr/unpack-no-eval" {
  export { Unpackr } from "msgpackr";
}
