// The multiplier block of UltraScale+ in the one use that Yosys makes of it: no registers, P = A[26:0] * B, signed
// (OPMODE 0_0000_0101 of AMD's UG579). Yosys brings no model of it. Any other use ends the simulation; a port or
// parameter that is not here is refused by the simulator.
module DSP48E2 #(
    parameter ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1, CARRYINREG = 1,
    parameter CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1, MREG = 1, OPMODEREG = 1, PREG = 1,
    parameter AMULTSEL = "A", A_INPUT = "DIRECT", BMULTSEL = "B", B_INPUT = "DIRECT",
    parameter USE_MULT = "MULTIPLY", USE_SIMD = "ONE48"
) (
    input [29:0] A, ACIN,
    input [17:0] B, BCIN,
    input [47:0] C, PCIN,
    input [26:0] D,
    input [3:0] ALUMODE,
    input [4:0] INMODE,
    input [8:0] OPMODE,
    input CARRYIN,
    input [2:0] CARRYINSEL,
    output [47:0] P
);
    localparam REGISTERS = ACASCREG + ADREG + ALUMODEREG + AREG + BCASCREG + BREG + CARRYINREG + CARRYINSELREG + CREG
        + DREG + INMODEREG + MREG + OPMODEREG + PREG;
    localparam OTHER = REGISTERS != 0 || AMULTSEL != "A" || A_INPUT != "DIRECT" || BMULTSEL != "B" || B_INPUT != "DIRECT"
        || USE_MULT != "MULTIPLY" || USE_SIMD != "ONE48";

    wire signed [26:0] a = A[26:0];
    wire signed [17:0] b = B;
    wire signed [44:0] product = a * b;
    assign P = {{3{product[44]}}, product};

    always @* if (OTHER || OPMODE != 9'h005 || ALUMODE != 0 || INMODE != 0 || CARRYIN != 0 || CARRYINSEL != 0) begin
        $display("DSP48E2: a use that the model does not know");
        $stop;
    end
endmodule
