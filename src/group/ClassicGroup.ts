/** placeholder */
export interface ClassicGroup {
  readonly kind: "classic";
  readonly groupId: string;
}
