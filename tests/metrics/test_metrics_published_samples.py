"""Formulas of every fiftieth of the 10,000 samples of MP-20 that DiffCSP (arXiv:2309.04475) is known by, and CDVAE's
verdict.

The whole set, with its structures, is judged by benchmarks/metrics.py: 100.00 % and 83.25 %, as published.
"""

from pymatgen.core import Composition

from graphgan.metrics import compositionally_valid

VALID = """
TbEr3Al4O12 K2ZnAgF6 Yb2NbAl2Pd9 MnO3F Ce2Cu5AgS6 Li2NdIn TbPPt ErCuSn Na3CO3 LiSbO3 Cs2ScHgI6 Tl3WS8 Sc2AlCu
KLiAl(PO4)2 H8C2N2O HfCoGe Y2GeN Hf2MnNi3 TiAl9Fe TiCu2 Hf2CdPd2 Mn8NbSi9 La2CuSb3Pt NaEu(Pd2O3)2 Zn TaTeMoWO8 TiPt
K2NaYCl6 ZnCu2Pt5 MoW(SeS)2 YbYCu2 LiErSn2 PaAlCoAu HfV2Pd7 Al2NiGe RbIn5Pb2 Li4Ga3Co(O5F)2 Zr2AsS3 Ba7SrGe8
Pr2GaSi3 YbPd Co11NiMo H6CSClO Rb2YSbI6 LiFeO2 Ho(CoAs)2 VAs3O10 NdZnAs2 Rb2CuSbI6 LiMnBiO4 BaMo(C2O7)2 Li5Mn2CoO8
GaRh GaP3O10 Li6CaAl(SiO5)2 Fe3HNCl11 PrSiGe LaHg2 BaIn2PbI8 Ba3Er2FeCoS6Cl LiFeBF6 Cu Ba2SrLaSc2Nb2O12 Tm5Zn3NiSn3
CaBO3 Cu2H5O9 CeCdPt2 MgScCuPd Nd3Sn12Au Be3NbVCu Ho2TlSn SrI2 Na11CuO6 Sr3DyCdCu4O9 Ca(GaAu)2 Ca7Ga AgSb3(PS2)4
Eu5MnN3O MnGaGeRh HgN3F10 Zn2GaCo(TcPd)2 In SmZnSn TbZn2Sn SmAgSb Li3LaMg3OF12 Gd2Ta(Cu2As3)2 LaIn3 YbIr K3Al5 Mn
Ba5Ga4S11 Ti2PdPt PS3 Pr(CoGe)2 TiNi3 YIn5 Yb Rb2LaClO2 Pu2Cu4Sn3Pd7 TaCdCoPSe6 SmZnGaHg Na2Mg3In Pr3HfBr12 Li3Mn5O8
TiVCrPd GdNp(In2Sn)2 HfIr CeMgSb TmVO4 Ca3LaZnCu2 BaSrDyBiO6 CeN Li3LaNb2CoO9 NaBi BaRu2O5 Tb2(GaNi2)3 UAl4Bi2O13
FeRh Fe7WO12 LiCa4(WO4)3 DyHoHg2 HfSiAs2 Mn5CrS8 NaSc6Tl TiAlPt YbCdHg2 LaAg(MoS2)4 RbErSe2 NbS2 Cu7Sn(OF2)4
Li2Mn(CdPd)2 Rb2ScAgI6 SrCa2Yb Ga2Ni HoCd2Pd Zr2NpScAgSn7RhAu3 Nb2Fe2O5F3 K4Mn3GeO10 BaSr2Ti2MnO8 KZnAu BaMn3FeO7
GdTl2In Tm PrAl2 MgZrPd2 SrAlO3 CuS4 H9CO10 Li3AgGe2O7 Li5Ti3O8 TlAg2SeS3 YCoSi BaH4O3 MnSnC MgGa Ga3Ag NaHoCuMoO6
NaNdTe2 LiFePNO6 Tb2Ag9 Mn8Al5Cr CsAgBr3 Fe5W2O10F K2ScHgI6 Sr(SiRu)2 BaGaTe2 TePt UZnPb3F12 LiAlGaAg CaV3O8 InSe
Mg2Ag NaLiTl2 Cs Nd3CuO6
"""
INVALID = """
PmNdSm6 Sr3Cu11O2 Cs2TlCu6Te5 Er7I9Cl4 Se3Cl10 Ta2AlN Na7I13 Ho4I9 EuCl MgAs3 Lu6ScSe7 LiCo7O8F3 La(HgI3)4 NbAl5Si
In3Se4 Sb(PO3)2 NaCr(Sb2S3)2 BaSn4I13 K5Hg8O7 VFeRe2B10IrOs5 Na(BO2)3 Li4AlCoSiAg2 Zr3Se5 DyIn9P2
"""


def test_verdicts_on_published_samples():
    verdicts = [[compositionally_valid(Composition(f)) for f in group.split()] for group in (VALID, INVALID)]
    assert [len(group) for group in verdicts] == [176, 24]
    assert all(verdicts[0]) and not any(verdicts[1])
